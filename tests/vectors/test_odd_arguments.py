"""Arguments that nobody means: one error of ours each, and a table that stays as it was."""

import numpy as np
import pytest

from foreword import KeyedVectors
from foreword.errors import ArgumentError, ArgumentTypeError


@pytest.fixture
def wv():
    table = KeyedVectors(3)
    table.add_vectors(["east", "north", "up"], np.eye(3) + 0.1)
    return table


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wv: wv.most_similar([("east", np.inf)]), "a weight must be a finite number"),
        (lambda wv: wv.most_similar([("east", 10**400)]), "not an array of numbers"),
        (lambda wv: wv.most_similar_batch([[("east", np.nan)]]), "a weight must be a finite number"),
        (lambda wv: wv.get_mean_vector(["east", "up"], weights=[1, np.nan]), "a weight must be a finite number"),
        (lambda wv: wv.get_mean_vector(["east", "up"], weights=["1", "x"]), "not an array of numbers"),
        (lambda wv: wv.most_similar("east", indexer=5), "not an index to ask"),
        (lambda wv: wv.similar_by_vector([[1], [1, 2]]), "not an array of numbers"),
        (lambda wv: wv.distances([[1], [1, 2]]), "not an array of numbers"),
        (lambda wv: wv.add_vector("a", [[1], [1, 2]]), "not an array of numbers"),
        (lambda wv: wv.add_vectors(["a", "b"], [[1, 2, 3], [1, 2]]), "not an array of numbers"),
        (lambda wv: wv.__setitem__("a", [[1], [1, 2]]), "not an array of numbers"),
        (lambda wv: wv.__setitem__(["a"], [[1], [1, 2]]), "not an array of numbers"),
        (lambda wv: setattr(wv, "vectors", [[1.0], [1.0, 2.0]]), "not an array of numbers"),
        (lambda wv: KeyedVectors(3, dtype="U3"), "vectors are of floats"),
        (lambda wv: KeyedVectors(3, dtype="nope"), "vectors are of floats"),
        (lambda wv: KeyedVectors(3, dtype=complex), "vectors are of floats"),
        (lambda wv: KeyedVectors(3, dtype=np.int32), "vectors are of floats"),
        (lambda wv: wv.save_word2vec_format("never", fvocab="never"), "no attribute 'count'\n  fix"),
    ],
)
def test_one_error_of_ours(wv, call, message):
    with pytest.raises(ArgumentError) as caught:
        call(wv)
    assert message in str(caught.value)
    assert wv.index_to_key == ["east", "north", "up"]
    assert wv.vectors.shape == (3, 3)


def test_a_vector_of_integers_is_a_vector(wv):
    # as in gensim, whatever keys or rows its numbers would be
    assert wv.most_similar(np.array([0, 0, 2]), topn=1) == wv.most_similar(np.array([0.0, 0, 2]), topn=1)
    assert wv.most_similar(negative=np.array([0, 0, 2]))[-1][0] == "up"
    assert wv.most_similar_batch([np.array([0, 0, 2])], topn=1)[0][0][0] == "up"
    with pytest.raises(ArgumentError, match="not a vector of this table"):
        wv.most_similar(np.array([0, 1]))
    assert wv.most_similar([0, 1]) == wv.most_similar(["east", "north"])  # a list names rows


def test_an_attribute_of_another_type_changes_nothing(wv):
    wv.set_vecattr("east", "count", 7)
    for change in (
        lambda: wv.set_vecattr("up", "count", "many"),
        lambda: wv.add_vectors(["down"], np.ones((1, 3)), extras={"count": np.array(["many"])}),
        lambda: wv.allocate_vecattrs(["count"], [str]),
    ):
        with pytest.raises(ArgumentTypeError, match="'count'"):
            change()
        with pytest.raises(TypeError):  # which gensim's users catch
            change()
    assert len(wv) == len(wv.vectors) == len(wv.expandos["count"]) == 3
    assert "down" not in wv


def test_neighbours_whose_cosines_sum_to_nothing():
    table = KeyedVectors(2)
    table.add_vectors(["east", "west", "far east"], [[1, 0], [-1, 0], [1, 0]])
    with pytest.raises(ArgumentError, match="sum to 0"):
        table.relative_cosine_similarity("east", "west", topn=2)
    assert table.relative_cosine_similarity("east", "west", topn=1) == -1


@pytest.mark.parametrize("rows", [2, 5])
@pytest.mark.parametrize(
    "use",
    [
        lambda wv, path: wv.most_similar("east"),
        lambda wv, path: wv.most_similar_batch(["east"]),
        lambda wv, path: wv.most_similar_cosmul("east"),
        lambda wv, path: wv.similar_by_vector(np.ones(3)),
        lambda wv, path: wv.distances("east"),
        lambda wv, path: wv.closer_than("east", "up"),
        lambda wv, path: wv["east", "up"],
        lambda wv, path: wv.add_vectors(["down"], np.ones((1, 3))),
        lambda wv, path: wv.save(path),
        lambda wv, path: wv.export(path),
        lambda wv, path: wv.save_word2vec_format(path),
    ],
)
def test_not_a_row_a_key(wv, tmp_path, rows, use):
    wv.vectors = np.ones((rows, 3))
    with pytest.raises(ArgumentError, match="keys and vectors are not as many"):
        use(wv, tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_a_key_beyond_the_rows(wv):
    wv.vectors = np.ones((2, 3))
    for use in (lambda: wv["up"], lambda: wv.similarity("east", "up")):
        with pytest.raises(ArgumentError, match="keys and vectors are not as many"):
            use()
    wv.vectors = np.eye(4)[:, :3]  # one by one is well: what is used is what was assigned last
    wv.index_to_key = ["a", "b", "c", "d"]
    wv.key_to_index = {"a": 0, "b": 1, "c": 2, "d": 3}
    assert wv.most_similar("a", topn=1) == [("b", 0.0)]
