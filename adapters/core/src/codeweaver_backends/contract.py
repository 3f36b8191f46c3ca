"""The contract as data: numbered clauses, each proved by at least one test of the conformance kit.

A clause belongs to a profile (what a backend is certified for) and a level (``core`` counts, ``extended`` is listed).
``capability`` names the claim whose absence lets a backend deny the clause, or several of them, joined by ``+``; a clause
without one cannot be denied. Beside the claims, ``server`` says that the engine is reached by an address,
``credentials`` that a key is among the settings, ``secret`` that the configuration has a field for one, ``tls``,
``authority`` and ``client-certificate`` that it has the settings ``tls``, ``ca_file`` and ``client_cert_file``, and
``configuration`` that there is a configuration class.
The pages ``docs/contract.md`` and ``docs/matrix.md`` are generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CLAUSES", "CONTRACT_VERSION", "Clause", "Level", "Profile", "clauses_of"]

CONTRACT_VERSION: Final = "1.0"

Profile: TypeAlias = Literal["vector", "scan", "columnar", "hybrid", "index", "streaming", "transactions"]
Level: TypeAlias = Literal["core", "extended"]


@dataclass(frozen=True, slots=True)
class Clause:
    """One promise."""

    id: str
    sentence: str
    profile: Profile = "vector"
    level: Level = "core"
    capability: str | None = None
    since: str = "1.0"

    @property
    def area(self) -> str:
        """What it is about: the part of the id before the dot."""
        return self.id.partition(".")[0]


_TABLE: Final = (
    # --- collections ---
    Clause("collections.create", "A created collection is empty, listed, and described as it was created."),
    Clause(
        "collections.exists",
        "Creating an existing collection raises CollectionExistsError and changes nothing, whatever the settings.",
    ),
    Clause(
        "collections.missing",
        "Every call on a missing collection raises CollectionNotFoundError, and nothing is created by it.",
    ),
    Clause("collections.delete", "Deleting a collection removes it and its points, and no other collection."),
    Clause("collections.delete-missing", "Deleting a missing collection raises CollectionNotFoundError."),
    Clause(
        "collections.recreate",
        "A collection created again under an old name starts empty, with its new settings, in every open instance.",
    ),
    Clause(
        "collections.names",
        "Names of 1–80 bytes of UTF-8 without control characters are kept exactly and case-sensitively.",
    ),
    Clause("collections.bad-names", "Any other name, and '.' and '..', is refused with InvalidNameError."),
    Clause("collections.list", "list_collections names every collection once, however many there are."),
    Clause("collections.count", "vector_count counts the points exactly after every acknowledged write."),
    Clause("collections.info", "A fresh instance reads the stored dimension, metric and count."),
    Clause("collections.isolation", "Points of one collection are never seen or touched through another."),
    Clause(
        "collections.bad-dimension",
        "A dimension below 1 or above the declared maximum is refused, and so is anything but an integer.",
    ),
    Clause(
        "collections.first-use",
        "Concurrent first use initialises once: of concurrent creations of one name exactly one succeeds.",
    ),
    Clause(
        "collections.engine-options",
        "engine_options takes the claimed names with values of their types, which get_collection_info tells, also of a fresh instance; another name or type is refused, and nothing is created. Calls mean the same.",
        level="extended",
        capability="engine_options",
    ),
    # --- ids ---
    Clause(
        "ids.round-trip",
        "Ids come back with value and type kept: any non-empty unicode up to 512 code points, integers 0 … 2^63−1.",
    ),
    Clause("ids.distinct", '1 and "1", and strings that differ in a letter\'s case or form, are different points.'),
    Clause("ids.uuid", "Strings that look like a UUID are kept letter for letter, in every spelling."),
    Clause(
        "ids.refused",
        "bool, float, negative, too large, empty, too long, lone-surrogate, UUID and numpy ids are refused with InvalidIdError, and nothing is written.",
    ),
    Clause("ids.replace", "Upserting an existing id replaces the whole point: vector and payload; the count stays."),
    Clause("ids.last-wins", "Of equal ids in one batch the last wins."),
    Clause("ids.content", "Points with equal vector and payload and different ids are different points."),
    Clause("ids.stable", "A fresh instance on the same store replaces and deletes the points of an earlier one."),
    Clause("ids.delete", "Deleted points are gone from search and count, and nothing else is."),
    Clause(
        "ids.delete-unknown",
        "Deleting unknown ids, repeated ids, or none, is no error, and the known ones among them are deleted.",
    ),
    Clause("ids.delete-many", "A delete of thousands of ids deletes them all."),
    Clause("ids.delete-malformed", "A malformed id in a delete raises InvalidIdError, and nothing is deleted."),
    Clause(
        "ids.hostile",
        "Ids with quotes, backslashes, wildcards, newlines, NUL or expressions are written, replaced and deleted like any other.",
    ),
    # --- payload ---
    Clause(
        "payload.exact",
        "Any JSON object comes back exactly: nulls, nesting, empty containers, mixed lists, unicode, NUL.",
    ),
    Clause(
        "payload.numbers",
        "Numbers keep type and value: 1 and 1.0, true and 1, integers −2^63 … 2^63−1, every finite double.",
    ),
    Clause(
        "payload.keys", "Keys are kept as they are: empty, dotted, quoted, spaced, of any script, differing in case."
    ),
    Clause("payload.reserved", "No user key collides with what an adapter stores for itself."),
    Clause("payload.none", "A payload of None comes back as {}."),
    Clause(
        "payload.independent",
        "Each point of a batch has its own keys and types; none gains or loses any because of another.",
    ),
    Clause(
        "payload.refused",
        "What JSON cannot say (NaN, infinity, bytes, sets, datetimes, UUIDs, Enums, lone surrogates, non-string keys, larger integers) is refused with InvalidPayloadError, and nothing is written.",
    ),
    Clause("payload.copied", "Changing a payload after the call, or a returned one, does not change what is stored."),
    Clause(
        "payload.untouched",
        "What the caller gives is not changed: points and their payloads, columns, lists of ids, queries, filters.",
    ),
    Clause(
        "payload.size",
        "A payload up to the declared size is stored; a larger one is refused before anything is written.",
    ),
    Clause(
        "payload.with-payload",
        "with_payload returns all of the payload, none of it ({} or None), or the named top-level keys.",
    ),
    # --- vectors ---
    Clause(
        "vectors.round-trip",
        "The stored vector comes back as given to 1e-6 relative per element, not normalised, as a list of floats.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "vectors.with-vectors",
        "with_vectors=True returns the stored vector with each hit, as get_vectors does; without it none is returned.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "vectors.dimension",
        "A vector of another dimension, or an empty one, is refused with InvalidDimensionError on writes and queries; nothing is written.",
    ),
    Clause(
        "vectors.finite",
        "NaN and infinity, also after the cast to float32, are refused with InvalidVectorError on writes and queries.",
    ),
    Clause("vectors.zero-cosine", "The zero vector under cosine is refused on writes and on queries."),
    Clause("vectors.zero", "Under the other metrics a zero vector is a vector."),
    Clause("vectors.kinds", "Lists, tuples, array.array, numpy arrays and lists of numpy scalars are vectors alike."),
    Clause("vectors.not-numbers", "Vectors of anything but numbers are refused; text is never read as a number."),
    # --- scores ---
    Clause(
        "scores.order", "Results come best first: scores never increase, and the ids are those of an exact ranking."
    ),
    Clause(
        "scores.values", "Each score is the contract's formula to 1e-5 · max(1, |s|), dot product scaled by the norms."
    ),
    Clause("scores.type", "Each score is a finite Python float; results can be written as JSON."),
    Clause("scores.repeatable", "The same search on unchanged points gives the same scores."),
    Clause("scores.ties", "Points of equal score are all returned while the limit allows, none twice."),
    Clause(
        "scores.exact",
        "exact=True makes a search exact at any size, and changes nothing where it is exact already.",
        capability="exact_search",
    ),
    # --- metrics ---
    Clause("metrics.cosine", "Cosine is the cosine of the angle, in [−1, 1], whatever the lengths."),
    Clause(
        "metrics.dot-product",
        "Dot product is raw, negative ones included.",
        capability="supported_distance_metrics:DOT_PRODUCT",
    ),
    Clause(
        "metrics.euclidean",
        "Euclidean scores are 1 / (1 + distance).",
        capability="supported_distance_metrics:EUCLIDEAN",
    ),
    Clause(
        "metrics.manhattan",
        "Manhattan scores are 1 / (1 + distance).",
        capability="supported_distance_metrics:MANHATTAN",
    ),
    Clause(
        "metrics.unknown",
        "A metric that is not claimed raises UnsupportedError, an unknown one is refused; nothing falls back and nothing is created.",
    ),
    Clause(
        "metrics.size",
        "Metric and exactness do not depend on how many points there are, up to the declared exact size.",
    ),
    # --- filters ---
    Clause(
        "filters.applied", "A filter selects exactly the points that match, before the top-k cut, at every selectivity."
    ),
    Clause(
        "filters.empty",
        "An empty filter, or an empty or absent list, is no restriction at every level; must_not of an empty filter matches nothing.",
    ),
    Clause(
        "filters.must",
        "must takes the points that match all, conditions is read as more must; conditions on one field add up.",
    ),
    Clause("filters.should", "should takes the points that match at least one, also beside must."),
    Clause("filters.must-not", "must_not takes the points that match none."),
    Clause("filters.nested", "Every list takes nested filters, to the declared depth, with the grouping as written."),
    Clause("filters.dicts", "Plain dicts of filters and conditions are read as the objects they spell."),
    Clause("filters.aliases", "== != > >= gte < <= lte not_in mean their canonical operators."),
    Clause("filters.eq", "eq is JSON equality with a scalar, type-strict, 1 == 1.0; on a list, some element equals."),
    Clause("filters.ne", 'ne is exactly "not eq": it matches points without the field.'),
    Clause("filters.in", "in matches if some value equals, with mixed types; in [] matches nothing."),
    Clause("filters.nin", 'nin is exactly "not in"; nin [] matches everything.'),
    Clause(
        "filters.range",
        "gt, ge, lt and le compare numbers by exact value, some element of a list; other values do not match.",
    ),
    Clause(
        "filters.datetime",
        "A datetime operand compares as an instant, to the microsecond, with RFC 3339 strings.",
        capability="supports_datetime_ranges",
    ),
    Clause(
        "filters.datetime-utc",
        "A date-time string without offset, and a date alone, which is its midnight, is read as UTC, stored and as an operand; a naive datetime object is refused.",
        capability="supports_datetime_ranges",
    ),
    Clause(
        "filters.contains",
        "contains is a literal, case-sensitive substring of a string, and membership of a list.",
        capability="supports_contains",
    ),
    Clause("filters.exists", "exists is true if the key is there, whatever its value; exists False is its negation."),
    Clause("filters.is-null", "is_null is true if the key is there and null, not for a list that holds null."),
    Clause(
        "filters.regex", "regex is an unanchored RE2 search in strings.", level="extended", capability="supports_regex"
    ),
    Clause("filters.falsy", '0, False, "" and None are operands like any other.'),
    Clause(
        "filters.missing",
        "A point without payload or without the field matches no affirmed condition, and every negated one.",
    ),
    Clause(
        "filters.paths",
        "Fields are dotted into nested objects, never into lists; digits are ordinary keys; a tuple spells keys with dots or empty ones.",
    ),
    Clause(
        "filters.keys",
        "Fields of any name can be filtered: capitals, spaces, quotes, backslashes, unicode, names of an adapter's own.",
    ),
    Clause("filters.hostile", "No value or field name changes the meaning of a query."),
    Clause("filters.bad-operator", "An unknown operator is refused, naming what is allowed."),
    Clause("filters.bad-operand", "An operand of the wrong kind is refused with InvalidFilterError."),
    Clause(
        "filters.limits",
        "Filters up to the declared limits (256 values, 256 characters, 64 conditions, depth 8 at least) are answered; beyond them they are refused.",
    ),
    Clause(
        "filters.generated",
        "Generated filters over generated payloads select what the contract's plain reading selects.",
    ),
    # --- thresholds ---
    Clause("thresholds.inclusive", "score_threshold keeps the points whose returned score is >= it, for each metric."),
    Clause("thresholds.zero", "0.0 is a threshold, and so is a negative number."),
    Clause("thresholds.refused", "A threshold that is no finite number is refused."),
    # --- limits ---
    Clause("limits.zero", "limit=0 gives an empty list."),
    Clause("limits.default", "Without a limit ten points are returned."),
    Clause("limits.beyond", "A limit above the number of points gives all that match, also on an empty collection."),
    Clause(
        "limits.maximum",
        "A limit above the declared maximum is refused, on small collections too; the maximum itself is taken.",
    ),
    Clause(
        "limits.refused",
        "A negative limit, a bool, a float and a string are refused; anything with __index__ is an integer.",
    ),
    # --- batches ---
    Clause("batches.empty", "Upserting nothing is no error and changes nothing."),
    Clause(
        "batches.large", "A batch beyond any engine's page or message size is split by the adapter and stored whole."
    ),
    Clause("batches.atomic-validation", "A batch with one bad point raises, and nothing of it is written."),
    Clause("batches.wrong-argument", "Anything but a list of points is refused as invalid input."),
    Clause(
        "batches.columnar",
        "upsert_batch means what upsert_vectors means.",
        profile="columnar",
        capability="supports_columnar",
    ),
    Clause(
        "batches.columnar-refused",
        "Columns of unequal length, of another dimension or not numeric are refused, and nothing is written.",
        profile="columnar",
        capability="supports_columnar",
    ),
    # --- consistency ---
    Clause(
        "consistency.read-your-writes",
        "An acknowledged write is seen by the same client's next call, or within the declared visibility.",
    ),
    Clause("consistency.overwrite", "After an overwrite the old vector, payload and score are never served."),
    Clause("consistency.durable", "Acknowledged points are there for a fresh instance on the same store."),
    Clause(
        "consistency.concurrent-writes",
        "Concurrent upserts of different and of equal ids leave each id once, as one of the writers wrote it.",
    ),
    Clause(
        "consistency.search-beside-writes",
        "Searching beside writes and deletes raises nothing and returns whole points only.",
    ),
    # --- state ---
    Clause(
        "state.machine",
        "Any sequence of calls, of one instance, of another and in transactions, answers and leaves what the contract says.",
    ),
    # --- scan ---
    Clause(
        "scan.get",
        "get_vectors returns the points of the ids in the order asked, each once, unknown ids left out; ids and options "
        "of a wrong kind are refused.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "scan.scroll",
        "Following the cursor gives every point that matches exactly once, whatever the page size.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "scan.scroll-refused",
        "A foreign cursor, a page size below one, and options of a wrong kind are refused.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "scan.count", "count_vectors counts the points that match, exactly.", profile="scan", capability="supports_scan"
    ),
    Clause(
        "scan.delete-by-filter",
        "delete_by_filter deletes the points that match and no others, and says how many.",
        profile="scan",
        capability="supports_scan",
    ),
    Clause(
        "scan.generated",
        "count, scroll and delete_by_filter select what search selects, for generated filters.",
        profile="scan",
        capability="supports_scan",
    ),
    # --- hybrid ---
    Clause(
        "hybrid.create-index",
        "create_sparse_index works before points exist and after: when it returns, every point is found by the text of its fields; done again with the same arguments it changes nothing, with others the index is replaced.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.index-arguments",
        "Fields are dotted paths or tuples of keys, 1 to 64; index_type is bm25, text or keyword; the options are average_length and term_statistics, for bm25 only; anything else is refused, and the index stays as it was.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.index-shared",
        "Every open instance, and one opened later, writes and asks by the index as it is defined now: no point is without its text.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.fields",
        "The strings of all fields, alone or in lists, are one text; other values, missing and empty ones add nothing, and a path leads into no list.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.terms",
        "Terms are runs of letters, digits and _ after NFKC, lower-cased: cut at _, aB, 1B and ABc, the whole of several parts a term too; runs of Han, kana and hangul give their bigrams.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.indices",
        "A canonical string of at most nine digits, and an integer below 10^9, is its own index; any other term is the BLAKE2b-64 of its UTF-8, big-endian, modulo 10^9; terms of one index are one term.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.weights",
        "Weights are float32 and positive: a zero, or less than 1e-15, is no entry; negative, infinite and NaN weights, and those above 1e15, are refused with InvalidVectorError in points and queries, and nothing is written.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.dict-query",
        "A dict query is the dot product with sparse_vector, in any order of keys; only points that share a term are in the leg.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.text-query",
        "A text query is BM25 over the index's fields: k1 1.2, b 0.75, average_length a constant (64), idf by the contract's table of 50,000 documents.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.own-statistics",
        "term_statistics={documents, counts, other} stands in place of the contract's table, and average_length of 64, by the same formulas.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.text-index",
        "With index_type text a score is the number of the query's terms that the text has.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.keyword-index",
        "With index_type keyword each string is one term as it stands, and so is the query; the score is 1.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.hostile-text",
        "Quotes, operators, wildcards, newlines, NUL and emoji in texts and queries are text like any other; a lone surrogate is refused.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.no-terms",
        "A query that is empty, has no term or only unknown ones gives an empty leg and no error: the other leg alone counts.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.no-index",
        "A text query where there is no index is refused with InvalidInputError.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.slots",
        "sparse_vector and the index's text are two slots: a dict query reads the first only, a text query the second only.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.no-slot",
        "Points without sparse vector or text are written, are in no sparse leg, and are found by the dense one.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.statistics",
        "A point's score depends on the point and the query alone: not on what else is written, replaced or deleted.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.fresh",
        "Replacing, deleting and adding points, and changing their text, is seen by the next query of both kinds; a slot that was emptied and set again is found by its new terms only.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.update",
        "update_sparse_vectors replaces the sparse vectors of existing points, an empty one takes it away, and changes nothing else of them; an unknown id is refused before anything is written.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.rrf",
        "RRF is Σ w / (60 + rank), ranks from 1, w = 2·alpha of the dense leg and 2·(1−alpha) of the sparse one.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.linear",
        "LINEAR, also called WEIGHTED, is alpha·d + (1−alpha)·s of the legs' own scores.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.convex",
        "CONVEX is the same of scores brought to [0, 1] by their pool's minimum and maximum; all equal is 1.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.dbsf",
        "DBSF is the same of (s − (μ − 3σ)) / 6σ of the pool, clamped to [0, 1], σ of the sample; one point, or σ = 0, is 0.5.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.missing-leg",
        "A point that is missing from a leg has 0 of it.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.ranks",
        "Scores within 1e-6 · max(1, |s|) are equal: they share the better rank, and a range or σ of no more is none.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.pool",
        "A leg's pool is its candidates best by score and id, integers before strings; equal to the score at the cut, the smaller ids are in it.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.candidates",
        "candidates is 100, or limit if that is larger, and an integer of limit to the declared maximum; anything else is refused.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.alpha",
        "alpha is the weight of the dense leg: at 1 the sparse leg is not run, at 0 the dense one; outside of 0 to 1, or no number, is refused.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.order",
        "Results come best first, those equal to the first of them by id, each id once, at most limit.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.filter",
        "The filter binds both legs, before their pools are cut.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.shown",
        "with_payload and with_vectors show what they show in a search; any option but these, exact, effort and candidates is refused.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.metrics",
        "The dense leg has the scores of search_vectors, for each claimed metric.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.strategies",
        "A strategy that is no HybridStrategy, and a sparse_query that is neither a dict nor a string, is refused.",
        profile="hybrid",
        capability="supports_hybrid_search",
    ),
    Clause(
        "hybrid.round-trip",
        "With its vector a point's sparse vector comes back, as {index: float32 weight}; without one, None.",
        profile="hybrid",
        capability="supports_hybrid_search+supports_scan",
    ),
    Clause(
        "hybrid.columnar",
        "upsert_batch writes the index's text as upsert_vectors does, and leaves no sparse vector of a replaced point.",
        profile="hybrid",
        capability="supports_hybrid_search+supports_columnar",
    ),
    Clause(
        "hybrid.transactions",
        "Both slots follow the transaction: rolled back, the old terms are found again.",
        profile="hybrid",
        capability="supports_hybrid_search+supports_transactions",
    ),
    # --- index ---
    Clause(
        "index.recall",
        "Beyond the exact size a search with no options finds, of the ten nearest, the declared share on average, never below 0.95, under each claimed metric.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.filter",
        "So it does with any filter: whether few points pass or many, and whether they lie together or apart.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.whole",
        "No search is short: it gives limit points, or all that match, each once, at any limit; of the limit nearest at least 0.95 are among them.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.scores",
        "Scores, order, threshold and filters are exact, whichever way a search is answered.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.fresh",
        "Points that were written, replaced or deleted since the index was built are found, found anew, or gone, by the next search.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.deleted",
        "After most points were deleted recall and number are what they were, and a collection that is small again is exact.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.exact",
        "exact=True makes one search exact at any size.",
        profile="index",
        capability="index_kinds+exact_search",
    ),
    Clause(
        "index.effort",
        "effort, a number of 1 or more, multiplies what a search by the index looks at: a hundredfold finds at least 0.99 of the ten nearest.",
        profile="index",
        capability="index_kinds+search_effort",
    ),
    Clause(
        "index.hybrid",
        "The dense leg of a hybrid search is as exact, as whole and as fresh, and takes exact.",
        profile="index",
        capability="index_kinds+exact_search+supports_hybrid_search",
    ),
    Clause(
        "index.unindexed",
        "Under vector_index='exact' search is exact at any size, and so it is up to the exact size in every collection.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.optimize",
        "optimize_collection returns what get_collection_info tells, changes no point, may be repeated and run beside writes, and raises CollectionNotFoundError for a missing collection.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.count",
        "indexed_vector_count is the number of points that the index answers for: 0 without one, all after optimize_collection; None where the engine estimates it.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.reopen",
        "A fresh instance tells the vector_index that the collection was made with, and answers by the index as before.",
        profile="index",
        capability="index_kinds",
    ),
    Clause(
        "index.options",
        "vector_index is auto, exact, or a claimed kind with its own numbers; anything else is refused, an unclaimed kind with UnsupportedError, and nothing is created; exact and effort of a wrong kind are refused.",
        profile="index",
        capability="index_kinds",
    ),
    # --- streaming ---
    Clause(
        "streaming.upsert",
        "stream_upsert_vectors writes every point of the stream with vector and payload, whatever the sizes of its lists and of its batches.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.order",
        "Of equal ids in a stream the last wins, in one list, in one batch and across them.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.tail",
        "What does not fill a batch is written too.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.empty",
        "A stream of nothing, or of empty lists, changes nothing and is no error.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.missing",
        "On a missing collection both calls raise CollectionNotFoundError, for a stream of nothing too, and nothing is created.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.refused",
        "A bad name, batch_size or limit is refused before anything is asked of the stream.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.source-error",
        "What the stream raises reaches the caller as the same object, once what it gave before is written, or answered.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.failed-write",
        "A write that fails ends the call with its error, whose acknowledged is the number of points written before; the stream is asked for no more.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.back-pressure",
        "The stream is never asked for more than four batches beyond what is written.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.memory",
        "Of what a stream gave no more than four batches are held.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.progress",
        "The function given as progress is told the number of points written so far, never fewer than before and never more than are there.",
        profile="streaming",
        level="extended",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.search",
        "stream_search_vectors gives one answer to each query, in the order of the queries, each as search_vectors gives it.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.dialogue",
        "An answer is given as soon as it is there, also where the stream waits for it before its next query.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.cancelled",
        "After a cancellation, and after leaving the answers early, no task is left, the stream is closed, and the backend works on.",
        profile="streaming",
        capability="supports_streaming",
    ),
    Clause(
        "streaming.transaction",
        "A stream inside a transaction is part of it.",
        profile="streaming",
        capability="supports_streaming+supports_transactions",
    ),
    # --- transactions ---
    Clause(
        "transactions.own-writes",
        "Inside a transaction searches, filters and counts see its writes: new, replaced and deleted points.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.scan",
        "get, scroll, count and delete_by_filter inside a transaction see its writes and are part of it.",
        profile="transactions",
        capability="supports_transactions+supports_scan",
    ),
    Clause(
        "transactions.columnar",
        "upsert_batch inside a transaction is part of it.",
        profile="transactions",
        capability="supports_transactions+supports_columnar",
    ),
    Clause(
        "transactions.invisible",
        "Until its commit nothing of a transaction is seen by another task or another instance.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.commit",
        "After its commit all of a transaction is there, in every collection, for everyone and for a fresh instance.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.atomic",
        "Readers beside a commit see all of it or nothing, in every collection at once.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.rollback",
        "A rollback restores exactly: new points are gone, replaced and deleted ones are back with vector and payload, and counts and filters agree.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.collections",
        "Creating and deleting a collection inside a transaction is part of it, or is refused with UnsupportedError.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.finished",
        "An unknown or finished id is refused with TransactionError, by commit and by rollback, and nothing is written.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.nested",
        "A second begin inside a transaction is refused with TransactionError, and the first goes on.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.independent",
        "Open transactions do not see each other, and each is committed or rolled back alone.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.conflict",
        "The second writer of a point gets a ConflictError that is retryable, at the write or at its commit, and nothing of it is written; nobody overwrites silently.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.refused-call",
        "A call that is refused inside a transaction writes nothing, and the transaction goes on.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.task",
        "The task that begins a transaction is in it until it ends, and so are tasks it starts meanwhile, which are refused with TransactionError once it has ended.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.awaited-elsewhere",
        "Where wait_for or shield awaits begin_transaction in another task, the caller's next write is in the transaction or is refused, and never written at once.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.beside",
        "Calls outside of transactions go on working beside open ones, however many may be open.",
        profile="transactions",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.lost",
        "Of a transaction whose connection is lost before its commit nothing is written, nor by its later calls.",
        profile="transactions",
        capability="supports_transactions+server",
    ),
    Clause(
        "transactions.lost-answer",
        "A commit whose answer is lost raises an error with state_unknown, and all of it is written or nothing.",
        profile="transactions",
        capability="supports_transactions+server",
    ),
    Clause(
        "transactions.closed",
        "Closing a backend with a transaction open leaves nothing of it.",
        profile="transactions",
        level="extended",
        capability="supports_transactions",
    ),
    Clause(
        "transactions.view",
        "transaction() gives a view whose calls are in it in every task, commits at the end of its block, and rolls back if the block raises.",
        profile="transactions",
        level="extended",
        capability="supports_transactions",
    ),
    # --- lifecycle ---
    Clause("lifecycle.construct", "A backend is created without I/O and outside any event loop."),
    Clause("lifecycle.repeat", "Every call can follow every other, in a row and concurrently."),
    Clause(
        "lifecycle.close",
        "After aclose every call raises BackendClosedError at once; closing again is no error.",
        level="extended",
    ),
    Clause(
        "lifecycle.close-running",
        "A call under way when the backend is closed ends with its answer or with BackendClosedError.",
        level="extended",
    ),
    Clause(
        "lifecycle.leaks",
        "Opening, using and closing leaves no task, no warning and no growing number of threads or descriptors.",
        level="extended",
    ),
    Clause("lifecycle.loops", "A second event loop either works or is refused with a clear BackendError."),
    Clause(
        "lifecycle.independent",
        "Closing one instance leaves another usable.",
        level="extended",
        capability="supports_multiple_instances",
    ),
    Clause("lifecycle.blocking", "A call holds the event loop no longer than declared.", level="extended"),
    # --- health ---
    Clause("health.true", "health_check is True on a working engine and leaves the backend usable."),
    Clause(
        "health.false",
        "health_check is False, has asked the engine, and does not raise, where nobody answers, where nobody speaks, and after aclose.",
        capability="server",
    ),
    Clause("health.bounded", "health_check answers within the timeout.", capability="server"),
    # --- errors ---
    Clause(
        "errors.tree",
        "Everything raised on purpose is below BackendError, the engine's own exception as its cause; invalid input is also a ValueError.",
    ),
    Clause(
        "errors.connection",
        "With the engine unreachable every call raises BackendConnectionError, caused by the network and by no fault of the adapter; none returns as if it had worked.",
        capability="server",
    ),
    Clause(
        "errors.timeout",
        "With a silent engine every call has asked it, and ends within the timeout with a BackendConnectionError.",
        capability="server",
    ),
    Clause(
        "errors.authentication",
        "With credentials that the engine refuses every call raises BackendAuthenticationError at once, and health_check is False.",
        level="extended",
        capability="credentials",
    ),
    Clause(
        "errors.secret",
        "No secret of the configuration is in a message, a repr or a traceback's text.",
        capability="secret",
    ),
    Clause(
        "errors.order",
        "Every call refuses its name, its arguments and what is not claimed before the collection is looked up; vectors alone wait for it.",
    ),
    Clause(
        "errors.unknown-option",
        "An unknown keyword is refused with an error that is both InvalidInputError and TypeError.",
    ),
    Clause("errors.located", "An error says in which operation and on which collection it arose.", level="extended"),
    # --- capabilities ---
    Clause(
        "capabilities.typed", "The plugin states BackendCapabilities, with limits no lower than the contract's floors."
    ),
    Clause("capabilities.honest", "Every claimed capability is there: its methods are the backend's own."),
    Clause(
        "capabilities.unclaimed",
        "What is not claimed is refused with UnsupportedError or absent, and what works but is not claimed is reported.",
    ),
    Clause("capabilities.base", "Filters, cosine and both kinds of ids cannot be denied."),
    # --- plugin surface ---
    Clause(
        "plugin.surface",
        "The plugin gives name, type, capabilities, component info, dependencies and backend class, of the right types.",
    ),
    Clause("plugin.protocol", "The backend implements every method of VectorBackend itself."),
    Clause("plugin.stable-name", "The plugin's name, its component info and its registration agree."),
    # --- config ---
    Clause(
        "config.validate",
        "validate_config returns a ValidationResult: valid for the configuration in use, errors for a wrong one.",
        capability="configuration",
    ),
    Clause(
        "config.tls",
        "With tls asked for nothing is said in the clear, and a certificate that nobody vouches for is refused.",
        level="extended",
        capability="server+tls",
    ),
    Clause(
        "config.authority",
        "With ca_file the authority in that file, and no other, vouches for the server, whose certificate must be of the name by which it is reached.",
        level="extended",
        capability="server+authority",
    ),
    Clause(
        "config.client-certificate",
        "A server that listens only to who shows a certificate is reached with client_cert_file and client_key_file, and not without.",
        level="extended",
        capability="server+client-certificate",
    ),
    Clause(
        "config.secret",
        "No secret shows in the configuration's repr or in the errors of validating it.",
        capability="secret",
    ),
)

CLAUSES: Final[dict[str, Clause]] = {clause.id: clause for clause in _TABLE}


def clauses_of(profile: Profile) -> list[Clause]:
    """The clauses of one profile, in the table's order."""
    return [clause for clause in CLAUSES.values() if clause.profile == profile]
