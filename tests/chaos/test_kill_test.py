"""The short form of ``make chaos``: a few machines, half a minute of killing, the same count of what is left."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import describe
from tests.chaos.kill_test import KillTest, Report
from tests.chaos.sites import OpenStackProject, Site, Vsphere
from tests.lab.openstack.cloud import Cloud

SEED = 20260101


def _killed(folder: Path, sites: dict[Site, int]) -> Report:
    report = KillTest(folder, sites, seed=SEED, seconds=20).run()
    print(describe(report))
    assert report.clean, describe(report)
    assert (report.created, report.deleted) == (sum(sites.values()), sum(sites.values()))
    assert report.kills.total() >= 2
    return report


@pytest.mark.timeout(400)
@pytest.mark.spec(28)
def test_nothing_is_lost_doubled_left_or_endless_while_processes_are_killed(tmp_path: Path) -> None:
    _killed(tmp_path, {Vsphere(tmp_path): 24})


@pytest.mark.timeout(1300)
@pytest.mark.spec(27)
def test_nor_where_an_openstack_whose_answers_are_lost_stands_beside_vsphere(
    tmp_path: Path, openstack_cloud: Cloud
) -> None:
    report = _killed(tmp_path, {Vsphere(tmp_path): 6, OpenStackProject(openstack_cloud): 6})
    assert report.lost_answers >= 2
