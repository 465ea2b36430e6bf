"""Buckets of a set and the batches of a pass, by arithmetic alone."""

from collections import Counter

from portrait.arrays import Size
from portrait.photos.buckets import assign_buckets, epoch_batches

WIDE, TALL, SQUARE = Size(1024, 768), Size(768, 1024), Size(1024, 1024)


def test_leftovers_share_the_square_bucket() -> None:
    shapes = [Size(400, 300)] * 4 + [Size(300, 400)]
    assert assign_buckets(shapes, 1024, 64, batch=1) == [WIDE] * 4 + [TALL]
    assert assign_buckets(shapes, 1024, 64, batch=2) == [WIDE] * 4 + [SQUARE]


def test_a_base_of_48_pixels_has_buckets_in_steps_of_8() -> None:
    assert assign_buckets([Size(48, 48), Size(48, 24), Size(10, 15)], 48, 8, 1) == [
        Size(48, 48),
        Size(48, 24),
        Size(32, 48),
    ]


def test_each_pass_sees_every_picture_in_batches_of_one_shape() -> None:
    buckets = [WIDE] * 5 + [TALL] * 2 + [SQUARE] * 3
    for number in range(4):
        batches = epoch_batches(buckets, 2, seed=7, number=number)
        assert {place for batch in batches for place in batch} == set(range(10))
        assert all(len(batch) == 2 for batch in batches)
        assert all(len({buckets[place] for place in batch}) == 1 for batch in batches)
        assert Counter(buckets[batch[0]] for batch in batches) == {WIDE: 3, TALL: 1, SQUARE: 2}


def test_the_order_depends_on_seed_and_pass_alone() -> None:
    buckets = [SQUARE] * 9
    assert epoch_batches(buckets, 1, 1, 0) == epoch_batches(buckets, 1, 1, 0)
    orders = [epoch_batches(buckets, 1, seed, number) for seed in (1, 2) for number in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_a_batch_larger_than_the_set_repeats_it() -> None:
    assert sorted(epoch_batches([SQUARE] * 3, 4, 0, 0)[0])[0] == 0
    assert len(epoch_batches([SQUARE] * 3, 4, 0, 0)[0]) == 4
