"""How made-up numbers come to look like columns of real tables."""

import numpy as np


def standard(numbers: np.ndarray) -> np.ndarray:
    """Columns of mean zero and deviation one."""
    scaled: np.ndarray = (numbers - numbers.mean(0)) / (numbers.std(0) + 1e-9)
    return scaled


def with_irrelevant(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some columns more, often as many again, that have to do with nothing."""
    rows, width = numbers.shape
    more = int(rng.choice([0, 0, 1, 3, width // 2, width]))
    other = rng.normal(size=(rows, more))
    if more and rng.random() < 0.5:
        other = standard(other @ rng.normal(size=(more, more)))
    return np.concatenate([numbers, other], axis=1)


def shaped(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each column as it is, rounded, cut off below, or one-hot by ranges."""
    plain = rng.random() < 0.4
    style = (1.0, 0.0, 0.0, 0.0) if plain else rng.dirichlet([2.5, 1.0, 0.8, 0.8])
    shapes = (_as_it_is, _rounded, _cut_off, _one_hot)
    return np.concatenate([shapes[rng.choice(4, p=style)](column, rng) for column in numbers.T], axis=1)


def varying(numbers: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `most` of the columns that vary."""
    kept = np.flatnonzero(numbers.std(0) > 1e-9)
    return numbers[:, rng.permutation(kept)[:most]]


def _as_it_is(column: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return column[:, None]


def _rounded(column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    steps = int(rng.integers(2, 20))
    if rng.random() < 0.5:
        stepped: np.ndarray = np.round((column - column.min()) / (np.ptp(column) + 1e-9) * steps)
    else:
        stepped = np.searchsorted(np.sort(rng.choice(column, steps)), column).astype(float)
    return stepped[:, None]


def _cut_off(column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cut: np.ndarray = np.maximum(column, np.quantile(column, rng.uniform(0.3, 0.97)))
    return cut[:, None]


def _one_hot(column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = int(rng.integers(3, 9))
    ranges = np.searchsorted(np.sort(rng.choice(column, values - 1)), column)
    codes = rng.permutation(values)
    if rng.random() < 0.3:  # several ranges have one name
        codes = codes[rng.integers(values, size=values)]
    hot: np.ndarray = (codes[ranges][:, None] == np.arange(values)).astype(float)
    return hot
