import json
import random

import numpy as np
import torch

from tokka.training.random_state import random_state, seed_all, seed_joined, set_random_state


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_state_that_went_through_json_goes_on_with_the_same_numbers():
    seed_all(3)
    draw()
    state = json.loads(json.dumps(random_state()))
    expected = [draw() for _ in range(3)]
    seed_all(4)
    set_random_state(state)
    assert [draw() for _ in range(3)] == expected


def test_a_rank_that_joins_has_numbers_of_its_own_and_always_the_same():
    numbers = set()
    for step, rank in ((8, 4), (8, 5), (9, 4), (8, 4)):
        seed_joined(3, step=step, rank=rank)
        numbers.add(draw())
    assert len(numbers) == 3
