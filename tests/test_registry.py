"""A task is a row, or what --classes makes of it."""

import pytest

from xray_tf.registry import CUSTOM, TASKS, Task, read_task


def test_the_rows_put_normal_first_and_know_its_place():
    assert {name: task.class_names for name, task in TASKS.items()} == {
        "binary": ("normal", "pneumonia"),
        "three-class": ("normal", "bacterial", "viral"),
    }
    assert [task.negative for task in TASKS.values()] == [0, 0]


@pytest.mark.parametrize("classes", [None, ""])
def test_without_classes_a_task_is_its_row(classes):
    assert read_task("three-class", classes) is not None
    assert read_task("three-class", classes).class_names == ("normal", "bacterial", "viral")
    assert read_task("binary", classes).words == {}


def test_words_are_mapped_to_the_classes_of_a_row():
    task = read_task("binary", "healthy=normal, Sick=pneumonia,staph=bacteria")
    assert (task.name, task.class_names) == ("binary", ("normal", "pneumonia"))
    assert task.words == {"healthy": "normal", "sick": "pneumonia", "staph": "bacterial"}
    words = task.class_words
    assert words["healthy"] == ("normal", "") and words["sick"] == ("pneumonia", "")
    assert words["staph"] == ("pneumonia", "bacterial") and words["virus"] == ("pneumonia", "viral")
    three = read_task("three-class", "flu=viral")
    assert three.name == "three-class" and three.class_words["flu"] == ("pneumonia", "viral")


@pytest.mark.parametrize(
    ("classes", "names", "negative"),
    [
        ("a,b,c", ("a", "b", "c"), None),
        ("covid,normal,viral", ("covid", "normal", "viral"), 1),
        ("healthy=Normal,COVID", ("normal", "COVID"), 0),
        ("up,down", ("up", "down"), 0),
        ("one=x,two=x,three=y", ("x", "y"), 0),
    ],
)
def test_other_classes_make_a_task_of_their_own_in_their_order(classes, names, negative):
    task = read_task("binary", classes)
    assert (task.name, task.class_names, task.negative) == (CUSTOM, names, negative)


def test_classes_that_are_those_of_a_row_make_that_row():
    assert read_task("binary", "normal,bacterial,viral").name == "three-class"


@pytest.mark.parametrize(
    ("label", "subtype", "classes", "index"),
    [
        ("covid", "", "normal,covid", 1),
        ("normal", "", "normal,covid", 0),
        ("pneumonia", "viral", "normal,covid", -1),
        ("pneumonia", "viral", "normal,viral", 1),
        ("pneumonia", "viral", "pneumonia,viral", 1),
        ("pneumonia", "bacterial", "pneumonia,viral", 0),
        ("", "", "a,b", -1),
    ],
)
def test_a_sub_type_is_a_class_before_its_label(label, subtype, classes, index):
    assert read_task("binary", classes).index(label, subtype) == index


@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        ("ternary", None, "task must be one of .*Received: task='ternary'"),
        ("binary", "a", "two or more classes. Received: classes='a'"),
        ("binary", "a,,b", "different words or WORD=CLASS"),
        ("binary", "a=,b", "different words or WORD=CLASS"),
        ("binary", "=a,b", "different words or WORD=CLASS"),
        ("binary", "a,A,b", "different words or WORD=CLASS"),
    ],
)
def test_what_makes_no_task_is_refused(task, classes, message):
    with pytest.raises(ValueError, match=message):
        read_task(task, classes)


def test_a_task_learns_words_for_its_own_classes_only():
    task = Task(CUSTOM, ("a", "b"))
    assert task.reading("alpha=a,beta=b").words == {"alpha": "a", "beta": "b"}
    assert task.reading(None) == task
    with pytest.raises(ValueError, match="must lead to one of .*Received: 'c' in classes='x=c'"):
        task.reading("x=c")
