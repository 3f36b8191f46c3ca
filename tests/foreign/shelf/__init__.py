"""A plug-in by someone else: vectors on a shelf, that is, in one SQLite file.

Written from the plug-in guide alone, against the host's import paths. It shares no code with the adapters: its own
storage, its own checks, its own reading of filters.
"""
