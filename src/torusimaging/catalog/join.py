"""Ids of stars, rows of two tables matched by them, and rows that are unique in one."""

import numpy as np

EXACT = 2**53  # from here on float64 has no longer every whole number
# What tables write in place of a name.
PLACEHOLDERS = frozenset(
    "none nan nil null na n/a n.a. #n/a <na> nat empty blank masked missing unknown".split()
)


def as_ids(values: np.ndarray, what: str) -> np.ma.MaskedArray:
    """The ids of a column as whole numbers or texts, masked where they name no star.

    Parameters
    ----------
    values : whole numbers or texts, shape (n,); fractions that are whole numbers which their kind
        holds exactly are whole numbers, too
    what : the column in words, for errors

    Numbers of 0 and below, which catalogues write for "no match", name no star; nor do empty
    texts, those without a letter or figure (as "--"), those that say None, nan, N/A, null and the
    like in any case, and those that are numbers of 0 and below.

    Raises ``ValueError``, with the first bad value, for other fractions and for other kinds.
    """
    missing, values = np.ma.getmaskarray(values), np.asarray(values)
    if values.dtype.kind == "f":
        values = _whole_numbers(np.where(missing, 0, values), what)
    if values.dtype.kind in "iu":
        known = values > 0
    elif values.dtype.kind in "SUO":
        known = _named(values)
    else:
        raise ValueError(f"{what} must hold ids, whole numbers or texts, but holds true or false.")
    return np.ma.array(values, mask=missing | ~known)


def _whole_numbers(values: np.ndarray, what: str) -> np.ndarray:
    """Positive fractions as int64, 0 for the others."""
    values = np.where(values > 0, values, 0)
    exact = min(EXACT, 2 ** (np.finfo(values.dtype).nmant + 1))
    bad = (values >= exact) | (values != np.trunc(values))
    bad &= np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        why = ""
        if values[row] >= exact:
            why = f": fractions of its kind hold whole numbers only below {exact}"
        raise ValueError(
            f"{what} must hold ids, whole numbers or texts, but row {row + 1} has "
            f"{float(values[row]):.17g}{why}."
        )
    return np.where(np.isfinite(values), values, 0).astype(np.int64)


def _named(texts: np.ndarray) -> np.ndarray:
    """Whether texts name a star."""
    if texts.dtype == object:
        texts = np.array(["" if text is None else text for text in texts.tolist()])
    texts = np.char.strip(texts.astype(str))
    known = np.ones(texts.size, dtype=bool)
    short = np.flatnonzero(np.char.str_len(texts) <= max(map(len, PLACEHOLDERS)))
    known[short] = [_is_name(text) for text in texts[short].tolist()]
    return known


def _is_name(text: str) -> bool:
    if text.lower() in PLACEHOLDERS or not any(letter.isalnum() for letter in text):
        return False
    try:
        return float(text) > 0
    except ValueError:
        return True


def join_rows(
    left: np.ndarray, right: np.ndarray, names: tuple[str, str] = ("left", "right")
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of an inner join, as indices into `left` and `right`, shape (n_joined,) each.

    Parameters
    ----------
    left, right : keys, text or whole numbers, shape (n,); blanks around them do not count, and
        empty texts, masked keys and NaN match nothing
    names : both in words, for errors

    A key that occurs a times on the left and b times on the right gives a b rows.  The rows are in
    the order of `left`, and of `right` for each of them.  Raises ``ValueError`` for keys of
    different kinds, and for fractions, which cannot tell Gaia's numbers apart.
    """
    a, b = _codes(left, right, names)
    order = np.argsort(b, kind="stable")
    ordered = b[order]
    first = np.searchsorted(ordered, a, "left")
    count = np.searchsorted(ordered, a, "right") - first
    count[a < 0] = 0
    rows = np.repeat(np.arange(a.size), count)
    # The place within each run of equal keys: a count that starts anew with every row of `left`.
    within = np.arange(rows.size) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[first[rows] + within]


def best_rows(ids: np.ndarray, rank: np.ndarray | None) -> np.ndarray:
    """The rows to keep so that each id occurs once, in order, as indices.

    Of the rows of an id that with the highest `rank` is kept, and of equal ones the first; a NaN
    ranks lowest.  Without a rank it is the first row.
    """
    if rank is None:
        return np.sort(np.unique(ids, return_index=True)[1])
    score = np.nan_to_num(np.asarray(rank, dtype=float), nan=-np.inf)
    # lexsort is stable: among equal ids and scores the first row stays first.
    order = np.lexsort((-score, ids))
    ordered = ids[order]
    first = np.append(True, ordered[1:] != ordered[:-1])[: ids.size]
    return np.sort(order[first])


def repeated_pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which rows of a join, as `join_rows` returns it, have a key that both sides repeat."""
    return (np.bincount(left)[left] > 1) & (np.bincount(right)[right] > 1)


def repeated(ids: np.ndarray) -> tuple[object, int] | None:
    """An id that occurs more than once and how often, or None."""
    values, counts = np.unique(ids, return_counts=True)
    if values.size == 0 or counts.max() == 1:
        return None
    k = int(np.argmax(counts))
    return values[k].item(), int(counts[k])


def _codes(
    left: np.ndarray, right: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers that are equal where the keys are; -1 for a key that matches nothing."""
    masks = [np.ma.getmaskarray(keys) for keys in (left, right)]
    left, right = (np.asarray(keys) for keys in (left, right))
    texts = [keys.dtype.kind in "SUO" for keys in (left, right)]
    if texts[0] != texts[1]:
        kinds = ["texts" if text else "numbers" for text in texts]
        raise ValueError(
            f"the keys of a join must be of one kind, but {names[0]} holds {kinds[0]} and "
            f"{names[1]} {kinds[1]}."
        )
    n = left.size
    if not texts[0]:
        whole = [_whole(keys) for keys in (left, right)]
        both, valid = (np.concatenate(parts) for parts in zip(*whole, strict=True))
        codes = np.unique(both, return_inverse=True)[1]
    else:
        words = _words(left, right)
        order = np.lexsort(words.T)
        new = np.any(words[order[1:]] != words[order[:-1]], axis=1)
        codes = np.empty(order.size, np.int64)
        codes[order] = np.append(0, np.cumsum(new))[: order.size]
        valid = np.any(words != 0, axis=1)
    codes = np.where(valid & ~np.concatenate(masks), codes, -1)
    return codes[:n], codes[n:]


def _whole(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys as int64, and which of them are numbers that it holds."""
    valid = np.ones(keys.size, dtype=bool)
    if keys.dtype.kind == "f":
        valid = np.isfinite(keys)
        keys = np.where(valid, keys, 0)
        if np.any((np.abs(keys) >= EXACT) | (keys != np.trunc(keys))):
            raise ValueError(
                "the keys of a join must be whole numbers or texts: as fractions, Gaia's numbers "
                "lose figures."
            )
    elif keys.dtype.kind == "u":
        valid = keys <= np.iinfo(np.int64).max
    return keys.astype(np.int64), valid


def _words(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Texts as rows of 64-bit words: numbers sort ten times faster than texts."""
    texts = [np.char.strip(_bytes(keys)) for keys in (left, right)]
    width = max(8, *(text.dtype.itemsize for text in texts))
    width += -width % 8
    both = np.concatenate([text.astype(f"S{width}") for text in texts])
    return both.view(np.uint64).reshape(both.size, width // 8)


def _bytes(keys: np.ndarray) -> np.ndarray:
    if keys.dtype.kind == "S":
        return keys
    if keys.dtype == object:
        keys = np.array(["" if key is None or key != key else key for key in keys])
    return np.char.encode(keys.astype(str), "utf-8")
