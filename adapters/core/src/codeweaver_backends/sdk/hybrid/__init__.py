"""Hybrid search: text as sparse vectors, and the fusion of a dense and a sparse leg, the same numbers on every engine.

A text becomes terms (``tokenizer``), a term an index (``terms``), a document or a query a sparse vector (``weights``,
``definition``), and the sparse leg a dot product; two legs become one ranking in ``fusion``. Nothing here depends on
what else a collection holds: ``docs/decisions/0010-hybrid-text-is-a-sparse-vector.md`` tells why.
"""
