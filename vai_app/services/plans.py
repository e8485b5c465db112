"""All plans in one table: which steps make an operation of each kind, in order; undo runs them in reverse."""

from collections.abc import Mapping

from vai_app.domain.operations import OperationKind, StepName

PLANS: Mapping[OperationKind, tuple[StepName, ...]] = {
    OperationKind.CREATE_VM: (StepName.VALIDATE, StepName.PLACE, StepName.CREATE_VM, StepName.START_VM),
    OperationKind.DELETE_VM: (StepName.STOP_VM, StepName.DELETE_VM, StepName.DELETE_SNAPSHOTS),
    OperationKind.POWER_VM: (StepName.CHANGE_POWER,),
    OperationKind.RESIZE_VM: (StepName.RESIZE_VM,),
    OperationKind.MIGRATE_VM: (StepName.MIGRATE_VM,),
    OperationKind.SNAPSHOT_VM: (StepName.TAKE_SNAPSHOT,),
    OperationKind.RESTORE_VM: (StepName.RESTORE_VM, StepName.REGAIN_POWER),
    OperationKind.DELETE_SNAPSHOT: (StepName.DELETE_SNAPSHOTS,),
    OperationKind.ADOPT_VM: (StepName.ADOPT_VM,),
    OperationKind.CREATE_BATCH: (StepName.PLACE_BATCH, StepName.AWAIT_BATCH),
}
