"""Checkpoints: read, and download as safetensors."""

from flask import Response

from api.http.openapi import Resource, returns_non_json
from api.http.responses import file_response, json_response
from api.operations.library.lineage import of_checkpoint
from api.permissions import visible_checkpoint
from api.schemas.models import CheckpointReply
from api.schemas.params import IdPath
from api.serializers.models import checkpoint_reply
from api.services import reading, services
from shared import blobs

checkpoints = Resource("checkpoints", "Snapshots of a model at one training step")

OCTETS = "application/octet-stream"
FORMAT = """The network as a safetensors file, which a page of NumPy can run.

V is the vocabulary size, E the embedding size, U the units per layer. All tensors are float32.

| tensor | shape | |
| --- | --- | --- |
| `embedding` | [V, E] | absent if `embedding` is 0; the input is then one-hot |
| `lstm.{l}.kernel` | [E or V or U, 4U] | of layer l, from 0 |
| `lstm.{l}.recurrent_kernel` | [U, 4U] | |
| `lstm.{l}.bias` | [4U] | |
| `head.kernel` | [U, V] | absent with a tied embedding |
| `projection.kernel`, `projection.bias` | [U, E], [E] | only with a tied embedding |
| `head.bias` | [V] | |

The four gates are concatenated in the order i, f, c, o. With z = x·kernel + h·recurrent_kernel
+ bias: c = sigmoid(z_f)·c + sigmoid(z_i)·tanh(z_c), h = sigmoid(z_o)·tanh(c). The logits of the
next token are h·head.kernel + head.bias, with h of the last layer; with a tied embedding,
(h·projection.kernel + projection.bias)·embeddingᵀ + head.bias. Tensors whose names start with
`training.` are needed only to continue the training. The metadata entry `quire` is JSON. It has
`characters`, in the order of their ids; `words`, whose ids follow (only with the tokenizer
`word`); and `network`, the network's numbers.
"""
_FILE = {
    "description": "The safetensors file",
    "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
}


@checkpoints.get("/checkpoints/<id>", CheckpointReply)
def read_checkpoint(path: IdPath) -> Response:
    """Read one checkpoint and its lineage."""
    with reading() as session:
        checkpoint, model = visible_checkpoint(session, path.id)
        lineage = of_checkpoint(session, checkpoint, model)
        return json_response(
            checkpoint_reply(checkpoint, model).model_copy(update={"lineage": lineage})
        )


@checkpoints.get(
    "/checkpoints/<id>/download", _FILE, summary="Download a checkpoint", description=FORMAT
)
@returns_non_json
def download_checkpoint(path: IdPath) -> Response:
    """Download a checkpoint."""
    with reading() as session:
        checkpoint, _model = visible_checkpoint(session, path.id)
    chunks = blobs.chunks(services().engine, checkpoint.sha256)
    return file_response(chunks, checkpoint.size_bytes, OCTETS, f"{checkpoint.id}.safetensors")
