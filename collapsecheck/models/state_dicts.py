from collapsecheck.checkpoints.state_dicts import Found, StateDict, find_state_dicts, unused_entries  # noqa: D100, F401
