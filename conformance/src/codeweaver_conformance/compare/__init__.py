"""The comparison: one semantic search over real source code, on every engine that is asked for.

``corpus`` cuts a folder of Python into chunks, ``embed`` turns their texts into vectors, ``workload`` says what is
searched and what the exact answers are, ``engines`` finds and opens the engines, ``measure`` runs them, ``report``
shows the outcome. No engine is named here: what is installed is found by entry points.
"""
