"""Checkpoints: read, and download as safetensors."""

from flask import Response

from api.http.openapi import Resource, returns_non_json
from api.http.responses import answer, file
from api.operations.lineage import of_checkpoint
from api.permissions import visible_checkpoint
from api.schemas.models import CheckpointReply
from api.schemas.params import IdPath
from api.serializers import checkpoint_reply
from api.services import reading, services
from shared import blobs

checkpoints = Resource("checkpoints", "Networks at one step")

OCTETS = "application/octet-stream"
FORMAT = """The network as a file of safetensors, which anybody can run in a page of NumPy.

V is the size of the vocabulary, E the embedding, U the units of a layer. All are float32.

| tensor | shape | |
| --- | --- | --- |
| `embedding` | [V, E] | absent where `embedding` is 0: the input is then one-hot |
| `lstm.{l}.kernel` | [E or V or U, 4U] | of layer l, from 0 |
| `lstm.{l}.recurrent_kernel` | [U, 4U] | |
| `lstm.{l}.bias` | [4U] | |
| `head.kernel` | [U, V] | |
| `head.bias` | [V] | |

The four gates stand side by side in the order i, f, c, o. With z = x·kernel + h·recurrent_kernel
+ bias: c = sigmoid(z_f)·c + sigmoid(z_i)·tanh(z_c), h = sigmoid(z_o)·tanh(c); the logits of the
next character are h·head.kernel + head.bias of the last layer. Tensors whose names begin with
`training.` are for going on with the training only. The metadata entry `quire` is JSON: it has
`characters`, in the order of their ids, `words`, whose ids follow (only with the tokenizer `word`),
and `network`, the numbers.
"""
_FILE = {
    "description": "The file",
    "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
}


@checkpoints.get("/checkpoints/<id>", CheckpointReply)
def read_checkpoint(path: IdPath) -> Response:
    """One checkpoint, and where it comes from."""
    with reading() as session:
        found = visible_checkpoint(session, path.id)
        lineage = of_checkpoint(session, *found)
        return answer(checkpoint_reply(*found).model_copy(update={"lineage": lineage}))


@checkpoints.get(
    "/checkpoints/<id>/download", _FILE, summary="Download a checkpoint", description=FORMAT
)
@returns_non_json
def download_checkpoint(path: IdPath) -> Response:
    """Download a checkpoint."""
    with reading() as session:
        checkpoint, _model = visible_checkpoint(session, path.id)
    pieces = blobs.chunks(services().engine, checkpoint.sha256)
    return file(pieces, checkpoint.size_bytes, OCTETS, f"{checkpoint.id}.safetensors")
