"""What vCenter's performance counters say, in VAI's units."""

import pytest
from pyVmomi import vim

from tests.integration.vmware.vmware_bench import Bench
from tests.lab.vcsim import Vcsim
from vai_app.domain.errors import ProviderAuthenticationFailed, VaiError
from vai_app.domain.statistics import Metric
from vai_app.domain.virtual_machines import PowerAction

pytestmark = pytest.mark.spec(4)

COUNTERS = {
    ("cpu", "usage"): 2550,  # hundredths of a percent
    ("mem", "consumed"): 300 * 1024,  # KiB
    ("net", "received"): 700,  # KiB/s, as all that follow
    ("net", "transmitted"): 70,
    ("disk", "read"): 80,
    ("disk", "write"): 8,
    ("power", "power"): 95,  # W
}
VALUES = {
    Metric.CPU_PERCENT: 25.5,
    Metric.MEMORY_MIB: 300.0,
    Metric.NETWORK_RECEIVED_KIB_S: 700.0,
    Metric.NETWORK_SENT_KIB_S: 70.0,
    Metric.DISK_READ_KIB_S: 80.0,
    Metric.DISK_WRITTEN_KIB_S: 8.0,
    Metric.POWER_WATTS: 95.0,
}


def _keys(vcenter: vim.ServiceInstance) -> dict[tuple[str, str], int]:
    return {
        (each.groupInfo.key, each.nameInfo.key): each.key
        for each in vcenter.content.perfManager.perfCounter
        if each.rollupType == "average"
    }


def _running(bench: Bench, name: str) -> str:
    ref = bench.create(name)
    bench.end(bench.hypervisor.request_power(ref, PowerAction.START))
    return ref


def test_every_counter_is_told_in_the_metrics_unit(bench: Bench, vcsim: Vcsim, vcenter: vim.ServiceInstance) -> None:
    ref, keys = _running(bench, "web-1"), _keys(vcenter)
    for spelled, value in COUNTERS.items():
        vcsim.measure("web-1", keys[spelled], value)
    (reading,) = bench.hypervisor.observe_statistics([ref], list(Metric))
    assert (reading.ref, reading.values, reading.totals) == (ref, pytest.approx(VALUES), {})


def test_what_vcenter_does_not_know_is_left_out(bench: Bench, vcsim: Vcsim, vcenter: vim.ServiceInstance) -> None:
    ref, keys = _running(bench, "web-1"), _keys(vcenter)
    vcsim.measure("web-1", keys[("power", "power")], -1)
    (reading,) = bench.hypervisor.observe_statistics([ref], list(Metric))
    assert Metric.POWER_WATTS not in reading.values
    assert Metric.CPU_PERCENT in reading.values


def test_a_refusal_is_told(bench: Bench, vcsim: Vcsim) -> None:
    ref = _running(bench, "web-1")
    vcsim.fault("QueryPerf", "NoPermission")
    with pytest.raises(VaiError) as refused:
        bench.hypervisor.observe_statistics([ref], list(Metric))
    assert not isinstance(refused.value, ProviderAuthenticationFailed)
