"""Rows of one patient or one file belong together, directly or through others."""

from xray_tf.data.kin import join, kin_groups, members


def test_kin_groups_join_through_patients_and_files_and_unknown_keys_join_nobody():
    assert kin_groups(
        ["a", "b", "a", "", "", "c", "c"], ["1", "2", "2", "3", "", "", "3"]
    ).tolist() == [0, 0, 0, 1, 2, 1, 1]
    # a key and a hash that read the same are not the same
    assert kin_groups(["same", "other"], ["other", "x"]).tolist() == [0, 1]
    assert kin_groups(["", ""], ["", ""]).tolist() == [0, 1]


def test_pairs_join_into_groups_numbered_by_their_first_members():
    groups = join(6, [(4, 2), (5, 1), (1, 4)])
    assert groups.tolist() == [0, 1, 1, 2, 1, 1]
    assert [g.tolist() for g in members(groups)] == [[0], [1, 2, 4, 5], [3]]
    assert join(0, []).tolist() == [] and members(join(0, [])) == []
