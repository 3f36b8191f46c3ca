"""What may be imported from ``codeweaver_backends``: a name that comes or goes is a decision."""

from __future__ import annotations

import codeweaver_backends

PUBLIC = """Access All Always AnyOf BackendAuthenticationError BackendCapabilities BackendClosedError BackendConfig
BackendConnectionError BackendError BackendPlugin BackendTemplate BackendTimeoutError BaseBackend BaseCapabilities
BaseComponentInfo Batch CLAUSES CONTRACT_VERSION Clause CodeWeaverFactory CollectionExistsError CollectionInfo
CollectionNotFoundError CollectionSettings ColumnarBackend ComponentType ConflictError Contains DeclaredPlugin
DistanceMetric ENTRY_POINT_GROUP Either EmbeddedConfig Exists FilterCondition FilterLike FloatMatrix HasElement
HybridSearchBackend HybridStrategy InstantRange InvalidDimensionError InvalidFilterError InvalidIdError
InvalidInputError InvalidNameError InvalidOptionError InvalidPayloadError InvalidVectorError IsNull Leaf Level
LimitExceededError Limits MAX_ID_LENGTH MemoryBackend MemoryConfig MemoryPlugin MemoryStore Never Node Not NumberRange
OPERATORS Order Page Payload PluginEntry PluginError PointId Profile Query RateLimitError Regex Registration
SCORE_TOLERANCE Scalar ScannableBackend ScrollPage SearchFilter SearchResult ServerConfig SparseVector
StreamingBackend Transaction TransactionError TransactionalBackend TransactionalBase UnsupportedError ValidationResult
VectorBackend VectorPoint WithPayload __version__
check_config clamp_cosine clauses_of config_class_of cursor_after decode_payload describe_validation_error
distance_of_score encode_payload find_plugins implements load_object normalise operation position_of project
score_of_distance scores validate_batch validate_columns validate_create validate_ids validate_limit validate_name
validate_options validate_page validate_query validate_vector validate_with_payload validate_with_vectors
"""


def test_public_names() -> None:
    assert sorted(codeweaver_backends.__all__) == PUBLIC.split()


def test_every_public_name_is_there_and_stands_once() -> None:
    assert len(set(codeweaver_backends.__all__)) == len(codeweaver_backends.__all__)
    assert all(hasattr(codeweaver_backends, name) for name in codeweaver_backends.__all__)


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert codeweaver_backends.__version__ == version("codeweaver-backends")
