"""`python -m fused_rnn forecast`: forecasts a real time series, with torch.nn training beside.

`command` holds the options and the order of events, `series` the file, its split and the
baselines, `training` the network and its loop; `experiment` joins them, `report` and `picture` show
what came out.
Only `command` is light to import.
"""


class UserError(ValueError):
    """A file, a series or a picture's path that does not serve; the message is for the user."""
