"""The embedding: a static model, real and small, whose weights travel inside a package. No download, no GPU.

A text's vector is the mean of its tokens' vectors, normalised: the same bits on every run. The two files of the package
are read directly: its own loader looks for them elsewhere, and its import brings what is not needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from codeweaver_backends.errors import PluginError
from codeweaver_backends.types import FloatMatrix

__all__ = ["MODEL", "ModelMissingError", "StaticModel"]

MODEL: Final = "wordllama l2_supercat_256"
_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_BATCH: Final = 512


class ModelMissingError(PluginError):
    """The packages of the extra ``compare`` are not installed."""


class StaticModel:
    """Texts to vectors."""

    def __init__(self, weights: FloatMatrix, tokenizer: Any) -> None:
        self._weights = weights
        self._tokenizer = tokenizer

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._weights.shape[1])

    @classmethod
    def load(cls) -> StaticModel:
        """Read the model from the installed package."""
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise _missing(error.name) from None
        package = find_spec("wordllama")
        if package is None or package.origin is None:
            raise _missing("wordllama")
        folder = Path(package.origin).parent
        for file in (_WEIGHTS, _TOKENIZER):
            if not (folder / file).is_file():
                raise ModelMissingError(
                    f"the installed wordllama holds no {file}; the extra 'compare' pins one that does"
                )
        (weights,) = load_file(folder / _WEIGHTS).values()
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(np.ascontiguousarray(weights, dtype=np.float32), tokenizer)

    def embed(self, texts: Sequence[str], tick: Callable[[int], object] = lambda _: None) -> FloatMatrix:
        """One row per text, of length 1. ``tick`` is told the size of each batch that is done."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            vectors[start : start + len(batch)] = self._means(batch)
            tick(len(batch))
        return vectors

    def _means(self, texts: list[str]) -> FloatMatrix:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        for text, ids in zip(texts, tokens, strict=True):
            if not ids:
                raise ValueError(f"the text {text!r} holds no token, so it has no vector")
        starts = np.cumsum([0, *(len(ids) for ids in tokens[:-1])])
        sums = np.add.reduceat(self._weights[np.concatenate(tokens)], starts, axis=0)
        # The mean and the sum point the same way: normalised, they are one.
        means: FloatMatrix = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return means


def _missing(module: str | None) -> ModelMissingError:
    return ModelMissingError(
        f"the embedding model needs the module {module!r}, which is not installed: "
        "pip install 'codeweaver-conformance[compare]'"
    )
