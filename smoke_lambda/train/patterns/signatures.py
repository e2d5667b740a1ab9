"""Several signatures, variables, and tables: what a call leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import FLOAT16, FLOAT32, Draw, Input, Pattern, Tensor, ints, x

FLOATS = (FLOAT32, FLOAT16)


class Several(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """Two functions that share weights."""

    def __init__(self, k: Draw) -> None:
        super().__init__()
        self.weights = tf.Variable(k.kernel(32, 33))
        self.bias = tf.Variable(k.array((33,), -0.5, 0.5, "float32"))
        spec = [tf.TensorSpec((2, 32), name="x")]
        self.exported = {
            "encode": tf.function(self.encode, spec).get_concrete_function(),
            "decode": tf.function(
                self.decode, [tf.TensorSpec((2, 33), name="code"), tf.TensorSpec((), name="gain")]
            ).get_concrete_function(),
        }

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """To a code, and its size."""
        code = tf.nn.relu(tf.matmul(x, self.weights) + self.bias)
        return {"code": code, "size": tf.reduce_sum(code)}

    def decode(self, code: Tensor, gain: Tensor) -> dict[str, Tensor]:
        """Back."""
        return {"x": tf.matmul(code, self.weights, transpose_b=True) * gain}


class Counter(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """A variable that every call adds to."""

    def __init__(self, _k: Draw) -> None:
        super().__init__()
        self.total = tf.Variable([0.5, -1.0, 2.0])
        spec = [tf.TensorSpec((3,), name="x")]
        self.exported = {"add": tf.function(self.add, spec).get_concrete_function()}

    def add(self, x: Tensor) -> dict[str, Tensor]:
        """The sum of all so far."""
        return {"total": self.total.assign_add(x), "twice": self.total * 2}


class Store(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """One signature writes what another reads."""

    def __init__(self, k: Draw) -> None:
        super().__init__()
        self.kept = tf.Variable(k.array((2, 4), -1, 1, "float32"))
        self.exported = {
            "write": tf.function(
                self.write, [tf.TensorSpec((2, 4), name="x")]
            ).get_concrete_function(),
            "read": tf.function(
                self.read, [tf.TensorSpec((), name="gain")]
            ).get_concrete_function(),
        }

    def write(self, x: Tensor) -> dict[str, Tensor]:
        """Keep a value; gives the one before."""
        before = tf.identity(self.kept)
        self.kept.assign(x)
        return {"before": before + 0.25}

    def read(self, gain: Tensor) -> dict[str, Tensor]:
        """What is kept."""
        return {"kept": self.kept * gain}


class Words(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """A table from texts to numbers, and one back."""

    def __init__(self, _k: Draw) -> None:
        super().__init__()
        words, numbers = (
            tf.constant(["one", "two", "", "drei"]),
            tf.constant([1, 2, 0, 3], tf.int64),
        )
        lookup = tf.lookup
        self.numbers = lookup.StaticHashTable(lookup.KeyValueTensorInitializer(words, numbers), -1)
        self.words = lookup.StaticHashTable(lookup.KeyValueTensorInitializer(numbers, words), "?")
        self.exported = {
            "number": tf.function(
                self.number, [tf.TensorSpec((4,), tf.string, name="word")]
            ).get_concrete_function(),
            "word": tf.function(
                self.word, [tf.TensorSpec((3,), tf.int64, name="number")]
            ).get_concrete_function(),
        }

    def number(self, word: Tensor) -> dict[str, Tensor]:
        """Of each word, and how many there are."""
        return {"number": self.numbers.lookup(word), "size": self.numbers.size()}

    def word(self, number: Tensor) -> dict[str, Tensor]:
        """Of each number."""
        return {"word": self.words.lookup(number)}


class Strings(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """Operators that know texts."""

    def __init__(self, _k: Draw) -> None:
        super().__init__()
        words = tf.TensorSpec((2, 3), tf.string, name="a")
        self.exported = {
            "move": tf.function(self.move, [words]).get_concrete_function(),
            "compare": tf.function(
                self.compare, [words, tf.TensorSpec((2, 3), tf.string, name="b")]
            ).get_concrete_function(),
        }

    def move(self, a: Tensor) -> dict[str, Tensor]:
        """Reshaped and sliced, and said to be of that shape."""
        return {"reshaped": tf.reshape(a, (3, 2)), "sliced": a[:, 1:]}

    def compare(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Which are alike."""
        return {"equal": tf.equal(a, b), "different": tf.not_equal(a, b)}


def signed(
    name: str,
    make: type[tf.Module],
    *calls: tuple[str, tuple[Input, ...]],
    flavours: tuple[str, ...],
) -> Pattern:
    """A pattern of a module whose cases call signatures."""
    return Pattern(
        name=name,
        build=make,
        inputs=(),
        calls=tuple(inputs for _, inputs in calls),
        signatures=tuple(signature for signature, _ in calls),
        own=False,
        constant=True,
        flavours=flavours,
    )


def words(shape: tuple[int, ...], *values: list[object]) -> Input:
    """An input of texts."""
    return Input(shape, "string", values=values)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    gain = Input((), values=(1.5,))
    yield signed(
        "two-signatures",
        Several,
        ("encode", (x(2, 32),)),
        ("decode", (x(2, 33), gain)),
        ("encode", (x(2, 32),)),
        flavours=FLOATS,
    )
    adds = [("add", (x(3),))] * 3
    yield signed("variable-counter", Counter, *adds, flavours=(FLOAT32,))
    yield signed(
        "variable-store",
        Store,
        ("read", (gain,)),
        ("write", (x(2, 4),)),
        ("read", (gain,)),
        ("write", (x(2, 4),)),
        flavours=(FLOAT32,),
    )
    numbers = Input((3,), "int64", values=([3, 7, 0],))
    yield signed(
        "hash-tables",
        Words,
        ("number", (words((4,), [b"two", b"none", b"", b"drei"]),)),
        ("word", (numbers,)),
        flavours=(FLOAT32,),
    )
    first = words((2, 3), [[b"a", b"", "\u00e4\u20ac".encode()], [b"long " * 9, b"x", b"y"]])
    second = words((2, 3), [[b"a", b"b", "\u00e4\u20ac".encode()], [b"long", b"x", b""]])
    yield signed(
        "strings",
        Strings,
        ("move", (first,)),
        ("compare", (first, second)),
        flavours=(FLOAT32,),
    )


__all__ = ["ints", "patterns"]
