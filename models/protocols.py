"""What a model can do, beyond being called. `isinstance(model, Features)` asks whether it has the methods for it.

No model names these classes: having the methods and attributes is enough. Every model can be called with the inputs of
a batch, with `key` for dropout. An objective says by `objectives.interface.needs` what else its models can do.
"""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from models.masks import Padding
from models.transformer import Cache, Hidden


@runtime_checkable
class Classifier(Protocol):
    """Returns the logits of classes, of a whole input or of each of its elements."""

    classes: int


@runtime_checkable
class TokenPredictor(Protocol):
    """Returns the logits of tokens at every position."""

    vocab_size: int


@runtime_checkable
class LanguageModel(Protocol):
    """Continues a text token by token: `models.decoding.sample`, `models.beam_search.beam_search_on`."""

    context: int
    embedding: Any

    def new_cache(self, batch_size: int, length: int | None = None) -> Cache: ...

    def decode(
        self, tokens: Int[Array, "batch time"], cache: Cache
    ) -> tuple[Float[Array, "batch time vocabulary"], Cache]: ...

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache: ...

    def __call__(self, tokens: Int[Array, "batch time"], /) -> Float[Array, "batch time vocabulary"]: ...


@runtime_checkable
class Translator(Protocol):
    """Writes a target for a source token by token: `models.beam_search.beam_search`."""

    context: int
    source_context: int
    embedding: Any

    def encode(
        self, source: Int[Array, "batch source"], *, source_mask: Padding | None = None
    ) -> Float[Array, "batch source width"]: ...

    def new_cache(
        self, source: Int[Array, "batch source"], *, source_mask: Padding | None = None,
        length: int | None = None,
    ) -> Cache: ...  # fmt: skip

    def decode(
        self, tokens: Int[Array, "batch time"], cache: Cache
    ) -> tuple[Float[Array, "batch time vocabulary"], Cache]: ...

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache: ...


@runtime_checkable
class Describer(Protocol):
    """Writes a text about an image token by token: `models.beam_search.beam_search`."""

    context: int
    image_shape: tuple[int, int, int]
    embedding: Any

    def encode(self, images: Float[Array, "batch rows columns channels"]) -> Float[Array, "batch parts width"]: ...

    def new_cache(
        self, images: Float[Array, "batch rows columns channels"], *, source_mask: None = None,
        length: int | None = None,
    ) -> Cache: ...  # fmt: skip

    def decode(
        self, tokens: Int[Array, "batch time"], cache: Cache
    ) -> tuple[Float[Array, "batch time vocabulary"], Cache]: ...

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache: ...


@runtime_checkable
class Comparer(Protocol):
    """Maps images and texts to vectors that can be compared: the objective "contrastive"."""

    context: int
    image_shape: tuple[int, int, int]

    def encode_images(self, images: Float[Array, "batch rows columns channels"]) -> Float[Array, "batch shared"]: ...

    def encode_texts(
        self, tokens: Int[Array, "texts time"], mask: Padding | None = None
    ) -> Float[Array, "texts shared"]: ...


@runtime_checkable
class Features(Protocol):
    """Shows its hidden states: the embeddings (or latents) and the output of each block in turn."""

    def features(self, *args: Any, **inputs: Any) -> list[Hidden]: ...


@runtime_checkable
class Resizable(Protocol):
    """Can be made to read images of another size with the same parameters."""

    def resized(self, image_shape: tuple[int, int, int]) -> Any: ...


@runtime_checkable
class LatentVariable(Protocol):
    """Encodes its inputs to a distribution of latents, and decodes latents: the objective "variational"."""

    latents: int
    likelihood: str

    def encode(self, *args: Any, **inputs: Any) -> list[Float[Array, "batch latents"]]: ...

    def decode(self, latents_BZ: Float[Array, "batch latents"]) -> dict[str, Float[Array, "batch ..."]]: ...
