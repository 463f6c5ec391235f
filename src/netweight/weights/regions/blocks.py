"""GGUF's block types; their table is `netweight.ggml`, below the finders, because specs need it too."""

from ...ggml import BLOCK_TYPES, BlockType, Field

__all__ = ["BLOCK_TYPES", "BlockType", "Field"]
