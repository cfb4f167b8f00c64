"""The lanes of a device, and how the trainings of a GPU divide its memory."""

import pytest

from shared.settings import Settings
from worker.devices import LocalDevice
from worker.gpu.inventory import Gpu
from worker.lane import CONTEXT_BYTES, BadSlots, Lane, lanes_of, memory_limit, memory_part

CPU = LocalDevice("cpu")
GIB = 1 << 30


def card(gigabytes: int, problem: str | None = None) -> LocalDevice:
    return LocalDevice("gpu:0", gpu=Gpu(0, "GPU-11", "card", gigabytes * GIB, problem=problem))


def lanes(device: LocalDevice, slots: object = 1, **settings: object) -> list[Lane]:
    given = Settings.model_validate({"QUIRE_TRAIN_SLOTS": slots, **settings})
    return lanes_of("here", device, given, "1f")


def test_a_device_has_one_lane_of_each_kind_unless_it_is_a_large_card() -> None:
    assert len(lanes_of("here", card(80), Settings())) == 4 + 1
    for device in (CPU, card(24)):
        train, generate = lanes_of("here", device, Settings())
        assert (train.worker_id, generate.worker_id) == (
            f"here/{device.name}/train", f"here/{device.name}/generate",
        )  # fmt: skip
        assert train.title == f"train {device.name}"
        assert "--slot" not in train.arguments()


def test_each_further_slot_is_a_lane_with_its_number() -> None:
    found = lanes(CPU, 3)
    assert [lane.name for lane in found] == ["train", "train:1", "train:2", "generate"]
    assert [(lane.slot, lane.slots) for lane in found] == [(0, 3), (1, 3), (2, 3), (0, 1)]
    for lane in found:
        assert Lane.parse(lane.arguments()) == lane == Lane.from_dict(lane.as_dict())


def test_a_lane_alone_grows_as_needed_and_slots_have_their_parts() -> None:
    [alone, _], [first, second, texts] = lanes(card(80)), lanes(card(80), 2)
    assert memory_limit(alone, Settings()) is None
    assert memory_part(alone, Settings()) == int(0.7 * 80 * GIB)
    part = memory_part(first, Settings())
    assert part == int(0.7 * 80 * GIB) // 2 - CONTEXT_BYTES
    assert memory_limit(first, Settings()) == memory_limit(second, Settings()) == part
    assert memory_limit(texts, Settings()) is None
    shared = Settings.model_validate({"QUIRE_GPU_MEMORY_SHARE": 0.4})
    assert memory_limit(alone, shared) == int(0.4 * 80 * GIB)
    assert memory_limit(first, shared) == int(0.4 * 80 * GIB) // 2 - CONTEXT_BYTES


@pytest.mark.parametrize(
    ("device", "slots"),
    [(CPU, 1), (card(16), 1), (card(24), 1), (card(40), 2), (card(80), 4), (card(192), 4)],
)
def test_auto_goes_by_the_memory(device: LocalDevice, slots: int) -> None:
    assert len(lanes(device, "auto")) == slots + 1


def test_slots_without_memory_are_refused_by_name() -> None:
    said = "QUIRE_TRAIN_SLOTS: 4 trainings on gpu:0 would have 12 MiB"
    with pytest.raises(BadSlots, match=said):
        lanes(card(4), 4)
    # A lost card shows no memory, and must not end the others.
    assert len(lanes(card(0, problem="GPU is lost"), 4)) == 5
