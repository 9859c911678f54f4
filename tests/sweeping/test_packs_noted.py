"""Which jobs shared a program, of a search that drew configurations more than once."""

import json
from pathlib import Path

from vaex.disk.sweep import Noted, pack_of

DRAWN = "abxaab" + "abxaab" + "cab"
"""Identities by number: two packs of five from six jobs each, x of another program; one of three that was cut off."""

PACKS = ((0, 1, 3, 4, 5), (6, 7, 9, 10, 11), (12, 13, 14))


def noted(directory: Path) -> list[Noted]:
    for members in PACKS:
        values = [DRAWN[number] for number in members]
        for index, number in enumerate(members):
            folder = directory / str(number)
            folder.mkdir()
            record = {"runs": len(members), "differ": {"loss": values}, "index": index}
            if number != 13:  # killed before it had written one
                (folder / "manifest.json").write_text(json.dumps({"pack": record}))
    return [Noted(number, Path(str(number)), (), each, {}, number) for number, each in enumerate(DRAWN)]


def test_a_pack_is_found_among_others_of_the_same_configurations(tmp_path: Path):
    jobs = noted(tmp_path)
    for members in PACKS:
        values = [DRAWN[number] for number in members]
        for index, number in enumerate(members):
            record = {"runs": len(members), "differ": {"loss": values}, "index": index}
            assert [job.number for job in pack_of(tmp_path, jobs, jobs[number], record, values)] == list(members)


def test_a_pack_of_which_a_run_lacks_is_not_whole(tmp_path: Path):
    jobs = noted(tmp_path)
    record = {"runs": 2, "differ": {"loss": ["c", "d"]}, "index": 0}
    assert len(pack_of(tmp_path, jobs, jobs[12], record, ["c", "d"])) == 1
