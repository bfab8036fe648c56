"""Whether torch.nn's layers can do what ours do."""

import warnings
from collections.abc import Callable


def outcome(call: Callable[[], object]) -> str:
    """The word "yes" where the call runs, or the first line of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's loop for an operator without a vmap rule
        try:
            call()
        except RuntimeError as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "yes"
