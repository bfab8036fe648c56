"""The course as a site: `sphinx-build docs/course FOLDER`.

A page quotes the numbers of its example by name, as `{{ forecast.lstm_mae }}`: they come from
results/NAME.json, which the example wrote.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE / "extensions"))

project = "fused_rnn: recurrent networks"
copyright = "fused_rnn contributors"
extensions = ["myst_parser", "mathml"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = "Recurrent networks with fused_rnn"
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "substitution"]
myst_substitutions = {
    path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))
}
