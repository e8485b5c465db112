// Build-time additions to package simulator of Debian's govmomi 0.24.2 (compiled in with `go build -overlay`).
package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ---- knobs -------------------------------------------------------------------------------------
var ExtTaskDelay time.Duration // how long a task stays in state "running" (work itself is done at once)

var extCallDelay int64 // nanoseconds before every SOAP call is served

type extRule struct {
	Method, Fault string // SOAP method ("CreateVM_Task"), vim25 fault type name ("NoDiskSpace")
	Obj           string // moref value, empty = any
	Count         int    // how many times; -1 = for ever
	AsTask        bool   // report through task.info.error rather than as SOAP fault
}

var (
	extMu    sync.Mutex
	extRules []*extRule
	extPerf  = map[string]map[int32]int64{} // moref value -> counter id -> value
	extNotify = map[string]types.BaseMethodFault{} // entity -> fault for the next task
)

func extMatch(method string, obj types.ManagedObjectReference, task bool) types.BaseMethodFault {
	extMu.Lock()
	defer extMu.Unlock()
	for _, r := range extRules {
		if r.Method == method && r.AsTask == task && (r.Obj == "" || r.Obj == obj.Value) && r.Count != 0 {
			if r.Count > 0 {
				r.Count--
			}
			if t, ok := defaultMapType(r.Fault); ok {
				if f, ok := reflect.New(t).Interface().(types.BaseMethodFault); ok {
					return f
				}
			}
			return &types.GenericVmConfigFault{Reason: r.Fault}
		}
	}
	return nil
}

// called from Service.call (see build.sh)
func extFault(m *Method) soap.HasFault {
	if d := atomic.LoadInt64(&extCallDelay); d > 0 {
		time.Sleep(time.Duration(d))
	}
	if f := extMatch(m.Name, m.This, false); f != nil {
		return &serverFaultBody{Reason: Fault("injected", f)}
	}
	return nil
}

// called from Task.Run (see build.sh)
func extExecute(t *Task) (types.AnyType, types.BaseMethodFault) {
	name := t.Info.Name
	if f := extMatch(name, *t.Info.Entity, true); f != nil {
		return nil, f
	}
	return t.Execute(t)
}

// extTaskName gives a task the name of its API method, as a real vCenter does (pyVmomi resolves it)
func extTaskName(n string) string {
	for _, c := range []string{n, n + "_Task", strings.TrimSuffix(n, "Vm") + "VM_Task", n + "VM_Task"} {
		if _, ok := defaultMapType(c); ok && strings.HasSuffix(c, "_Task") {
			return c
		}
	}
	return n
}

func extState(t *Task, state types.TaskInfoState) {
	if ExtTaskDelay == 0 {
		Map.Update(t, []types.PropertyChange{{Name: "info.state", Val: state}, {Name: "info.completeTime", Val: time.Now()}})
		return
	}
	go func() {
		for _, p := range []int32{25, 50, 75} {
			time.Sleep(ExtTaskDelay / 4)
			p := p
			Map.WithLock(t, func() { Map.Update(t, []types.PropertyChange{{Name: "info.progress", Val: p}}) })
		}
		time.Sleep(ExtTaskDelay / 4)
		Map.WithLock(t, func() {
			Map.Update(t, []types.PropertyChange{{Name: "info.state", Val: state}, {Name: "info.completeTime", Val: time.Now()}})
		})
	}()
}

// ---- VMs -----------------------------------------------------------------------------------------
func (c *createVM) Run(task *Task) (types.AnyType, types.BaseMethodFault) {
	if extReady && !c.register {
		if o := Map.FindByName(c.req.Config.Name, c.Folder.ChildEntity); o != nil {
			return nil, &types.DuplicateName{Name: c.req.Config.Name, Object: o.Reference()}
		}
	}
	return c.origRun(task)
}

var extIP uint32

func (c *powerVMTask) Run(task *Task) (types.AnyType, types.BaseMethodFault) {
	vm := c.VirtualMachine
	if vm.Config.Template {
		return nil, &types.InvalidState{}
	}
	host := Map.Get(*vm.Runtime.Host).(*HostSystem)
	if c.state == types.VirtualMachinePowerStatePoweredOn {
		if host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
			return nil, &types.HostNotConnected{}
		}
		if host.Runtime.InMaintenanceMode {
			return nil, &types.InvalidState{}
		}
		used := int64(0)
		for _, r := range host.Vm {
			if v, ok := Map.Get(r).(*VirtualMachine); ok && v.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				used += int64(v.Config.Hardware.MemoryMB)
			}
		}
		if free := host.Hardware.MemorySize>>20 - used; int64(vm.Config.Hardware.MemoryMB) > free {
			return nil, &types.InsufficientHostMemoryCapacityFault{Unreserved: free << 20, Requested: int64(vm.Config.Hardware.MemoryMB) << 20}
		}
	}
	res, err := c.origRun(task)
	if err != nil {
		return res, err
	}
	extGuest(vm, c.state == types.VirtualMachinePowerStatePoweredOn)
	return res, err
}

func extGuest(vm *VirtualMachine, on bool) {
	hb, run, st, ip := types.ManagedEntityStatusGray, "guestToolsNotRunning", types.VirtualMachineToolsStatusToolsNotRunning, ""
	if on {
		hb, run, st = types.ManagedEntityStatusGreen, "guestToolsRunning", types.VirtualMachineToolsStatusToolsOk
		if ip = vm.Guest.IpAddress; ip == "" {
			extMu.Lock()
			extIP++
			ip = fmt.Sprintf("10.%d.%d.%d", extIP>>16&255, extIP>>8&255, extIP&255)
			extMu.Unlock()
		}
	}
	ch := []types.PropertyChange{
		{Name: "guestHeartbeatStatus", Val: hb}, {Name: "summary.quickStats.guestHeartbeatStatus", Val: hb},
		{Name: "guest.toolsRunningStatus", Val: run}, {Name: "guest.toolsStatus", Val: st}, {Name: "guest.guestState", Val: map[bool]string{true: "running", false: "notRunning"}[on]},
		{Name: "guest.hostName", Val: map[bool]string{true: vm.Name, false: ""}[on]},
		{Name: "guest.ipAddress", Val: ip}, {Name: "summary.guest.ipAddress", Val: ip}, {Name: "summary.guest.toolsRunningStatus", Val: run},
	}
	if on {
		ch = append(ch, types.PropertyChange{Name: "summary.quickStats.overallCpuUsage", Val: int32(100)}, types.PropertyChange{Name: "summary.quickStats.guestMemoryUsage", Val: vm.Config.Hardware.MemoryMB / 2}, types.PropertyChange{Name: "summary.quickStats.uptimeSeconds", Val: int32(1)})
	}
	Map.Update(vm, ch)
}

func (vm *VirtualMachine) CloneVMTask(ctx *Context, req *types.CloneVM_Task) soap.HasFault {
	// a clone gets devices of its own: the stock code shares the source's and blanks the file names of its disks
	source := vm.Config.Hardware.Device
	copies := make([]types.BaseVirtualDevice, len(source))
	for i, d := range source {
		v := reflect.New(reflect.TypeOf(d).Elem())
		v.Elem().Set(reflect.ValueOf(d).Elem())
		copies[i] = v.Interface().(types.BaseVirtualDevice)
		if disk, ok := copies[i].(*types.VirtualDisk); ok {
			if b, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
				n := *b
				disk.Backing = &n
			}
		}
	}
	vm.Config.Hardware.Device = copies
	defer func() { vm.Config.Hardware.Device = source }()
	body := vm.origCloneVMTask(ctx, req)
	task := Map.Get(body.(*methods.CloneVM_TaskBody).Res.Returnval).(*Task)
	ref, ok := task.Info.Result.(types.ManagedObjectReference)
	if !ok {
		return body
	}
	clone := Map.Get(ref).(*VirtualMachine)
	c2 := *ctx
	c2.Caller = &ref
	Map.WithLock(clone, func() {
		if s := req.Spec.Config; s != nil {
			n := *s
			n.DeviceChange, n.ExtraConfig, n.InstanceUuid, n.Name = nil, nil, "", ""
			clone.ReconfigVMTask(&c2, &types.ReconfigVM_Task{This: ref, Spec: n})
		}
		dst := req.Spec.Location.Host
		if dst == nil && req.Spec.Location.Pool != nil {
			if cr, ok := Map.getEntityComputeResource(Map.Get(*req.Spec.Location.Pool).(mo.Entity)).(*ClusterComputeResource); ok && len(cr.Host) > 0 {
				extMu.Lock()
				extIP2++
				dst = &cr.Host[int(extIP2)%len(cr.Host)]
				extMu.Unlock()
			}
		}
		if dst != nil {
			clone.relocate(&c2, types.VirtualMachineRelocateSpec{Host: dst})
		}
		if s := req.Spec.Customization; s != nil && len(s.NicSettingMap) > 0 {
			if ip, ok := s.NicSettingMap[0].Adapter.Ip.(*types.CustomizationFixedIp); ok {
				clone.Guest.IpAddress = ip.IpAddress
			}
		}
		if req.Spec.PowerOn && !req.Spec.Template {
			clone.PowerOnVMTask(&c2, &types.PowerOnVM_Task{This: ref})
		}
	})
	return body
}

var extIP2 uint32

func (vm *VirtualMachine) relocate(ctx *Context, s types.VirtualMachineRelocateSpec) {
	if s.Host != nil && vm.Runtime.Host != nil {
		old, dst := Map.Get(*vm.Runtime.Host).(*HostSystem), Map.Get(*s.Host).(*HostSystem)
		Map.RemoveReference(old, &old.Vm, vm.Self)
		Map.AddReference(dst, &dst.Vm, vm.Self)
		h := *s.Host
		Map.Update(vm, []types.PropertyChange{{Name: "runtime.host", Val: h}, {Name: "summary.runtime.host", Val: h}})
	}
	if s.Datastore != nil {
		for _, r := range vm.Datastore {
			d := Map.Get(r).(*Datastore)
			Map.RemoveReference(d, &d.Vm, vm.Self)
		}
		d := Map.Get(*s.Datastore).(*Datastore)
		Map.AddReference(d, &d.Vm, vm.Self)
		Map.Update(vm, []types.PropertyChange{{Name: "datastore", Val: []types.ManagedObjectReference{*s.Datastore}}})
	}
	if s.Pool != nil {
		if vm.ResourcePool != nil {
			if p, ok := Map.Get(*vm.ResourcePool).(*ResourcePool); ok {
				Map.RemoveReference(p, &p.Vm, vm.Self)
			}
		}
		if p, ok := Map.Get(*s.Pool).(*ResourcePool); ok {
			Map.AddReference(p, &p.Vm, vm.Self)
		}
		Map.Update(vm, []types.PropertyChange{{Name: "resourcePool", Val: *s.Pool}})
	}
}

func (vm *VirtualMachine) RelocateVMTask(ctx *Context, req *types.RelocateVM_Task) soap.HasFault {
	task := CreateTask(vm, "relocateVm", func(t *Task) (types.AnyType, types.BaseMethodFault) {
		if req.Spec.Host != nil {
			h, ok := Map.Get(*req.Spec.Host).(*HostSystem)
			if !ok {
				return nil, &types.ManagedObjectNotFound{Obj: *req.Spec.Host}
			}
			if h.Runtime.ConnectionState != "connected" {
				return nil, &types.HostNotConnected{}
			}
			if h.Runtime.InMaintenanceMode {
				return nil, &types.InvalidState{}
			}
		}
		vm.relocate(ctx, req.Spec)
		ctx.postEvent(&types.VmMigratedEvent{VmEvent: vm.event()})
		return nil, nil
	})
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task.Run()}}
}

func (vm *VirtualMachine) MigrateVMTask(ctx *Context, req *types.MigrateVM_Task) soap.HasFault {
	b := vm.RelocateVMTask(ctx, &types.RelocateVM_Task{This: req.This, Spec: types.VirtualMachineRelocateSpec{Host: req.Host, Pool: req.Pool}})
	return &methods.MigrateVM_TaskBody{Res: &types.MigrateVM_TaskResponse{Returnval: b.(*methods.RelocateVM_TaskBody).Res.Returnval}}
}

func (vm *VirtualMachine) RebootGuest(ctx *Context, req *types.RebootGuest) soap.HasFault {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return &methods.RebootGuestBody{Fault_: Fault("", &types.InvalidPowerState{RequestedState: "poweredOn", ExistingState: vm.Runtime.PowerState})}
	}
	return &methods.RebootGuestBody{Res: new(types.RebootGuestResponse)}
}

// ---- snapshots -----------------------------------------------------------------------------------
func (v *VirtualMachineSnapshot) RevertToSnapshotTask(ctx *Context, req *types.RevertToSnapshot_Task) soap.HasFault {
	task := CreateTask(v.Vm, "revertToSnapshot", func(t *Task) (types.AnyType, types.BaseMethodFault) {
		vm := Map.Get(v.Vm).(*VirtualMachine)
		Map.WithLock(vm, func() { vm.extRevert(ctx, v) })
		return nil, nil
	})
	return &methods.RevertToSnapshot_TaskBody{Res: &types.RevertToSnapshot_TaskResponse{Returnval: task.Run()}}
}

func (vm *VirtualMachine) extRevert(ctx *Context, v *VirtualMachineSnapshot) {
	hw := vm.Config.Hardware
	hw.NumCPU, hw.MemoryMB = v.Config.Hardware.NumCPU, v.Config.Hardware.MemoryMB
	node := findSnapshotInTree(vm.Snapshot.RootSnapshotList, v.Self)
	Map.Update(vm, []types.PropertyChange{
		{Name: "snapshot.currentSnapshot", Val: v.Self}, {Name: "config.hardware", Val: hw},
		{Name: "config.annotation", Val: v.Config.Annotation},
		{Name: "summary.config.numCpu", Val: hw.NumCPU}, {Name: "summary.config.memorySizeMB", Val: hw.MemoryMB},
		{Name: "runtime.powerState", Val: node.State}, {Name: "summary.runtime.powerState", Val: node.State},
	})
	extGuest(vm, node.State == types.VirtualMachinePowerStatePoweredOn)
}

func (vm *VirtualMachine) RevertToCurrentSnapshotTask(ctx *Context, req *types.RevertToCurrentSnapshot_Task) soap.HasFault {
	task := CreateTask(vm, "revertToCurrentSnapshot", func(t *Task) (types.AnyType, types.BaseMethodFault) {
		if vm.Snapshot == nil || vm.Snapshot.CurrentSnapshot == nil {
			return nil, &types.NotFound{}
		}
		vm.extRevert(ctx, Map.Get(*vm.Snapshot.CurrentSnapshot).(*VirtualMachineSnapshot))
		return nil, nil
	})
	return &methods.RevertToCurrentSnapshot_TaskBody{Res: &types.RevertToCurrentSnapshot_TaskResponse{Returnval: task.Run()}}
}

func (v *VirtualMachineSnapshot) RenameSnapshot(ctx *Context, req *types.RenameSnapshot) soap.HasFault {
	vm := Map.Get(v.Vm).(*VirtualMachine)
	Map.WithLock(vm, func() {
		n := findSnapshotInTree(vm.Snapshot.RootSnapshotList, v.Self)
		if req.Name != "" {
			n.Name = req.Name
		}
		if req.Description != "" {
			n.Description = req.Description
		}
		Map.Update(vm, []types.PropertyChange{{Name: "snapshot.rootSnapshotList", Val: vm.Snapshot.RootSnapshotList}})
	})
	return &methods.RenameSnapshotBody{Res: new(types.RenameSnapshotResponse)}
}

// ---- hosts ---------------------------------------------------------------------------------------
func (h *HostSystem) extConn(ctx *Context, s types.HostSystemConnectionState) {
	st := types.ManagedEntityStatusGreen
	var ev types.BaseEvent = &types.HostConnectedEvent{HostEvent: h.event()}
	vs := types.VirtualMachineConnectionStateConnected
	switch s {
	case types.HostSystemConnectionStateDisconnected:
		st, ev, vs = types.ManagedEntityStatusGray, &types.HostDisconnectedEvent{HostEvent: h.event()}, types.VirtualMachineConnectionStateDisconnected
	case types.HostSystemConnectionStateNotResponding:
		st, ev, vs = types.ManagedEntityStatusRed, &types.HostConnectionLostEvent{HostEvent: h.event()}, types.VirtualMachineConnectionStateDisconnected
	}
	Map.Update(h, []types.PropertyChange{{Name: "runtime.connectionState", Val: s}, {Name: "summary.runtime.connectionState", Val: s}, {Name: "overallStatus", Val: st}, {Name: "summary.overallStatus", Val: st}})
	for _, r := range h.Vm {
		if vm, ok := Map.Get(r).(*VirtualMachine); ok {
			Map.WithLock(vm, func() { Map.Update(vm, []types.PropertyChange{{Name: "runtime.connectionState", Val: vs}, {Name: "summary.runtime.connectionState", Val: vs}}) })
		}
	}
	ctx.postEvent(ev)
}

func (h *HostSystem) DisconnectHostTask(ctx *Context, req *types.DisconnectHost_Task) soap.HasFault {
	t := CreateTask(h, "disconnectHost", func(*Task) (types.AnyType, types.BaseMethodFault) {
		h.extConn(ctx, types.HostSystemConnectionStateDisconnected)
		return nil, nil
	})
	return &methods.DisconnectHost_TaskBody{Res: &types.DisconnectHost_TaskResponse{Returnval: t.Run()}}
}

func (h *HostSystem) ReconnectHostTask(ctx *Context, req *types.ReconnectHost_Task) soap.HasFault {
	t := CreateTask(h, "reconnectHost", func(*Task) (types.AnyType, types.BaseMethodFault) {
		h.extConn(ctx, types.HostSystemConnectionStateConnected)
		return nil, nil
	})
	return &methods.ReconnectHost_TaskBody{Res: &types.ReconnectHost_TaskResponse{Returnval: t.Run()}}
}

func (h *HostSystem) extMaint(ctx *Context, on bool) {
	Map.Update(h, []types.PropertyChange{{Name: "runtime.inMaintenanceMode", Val: on}, {Name: "summary.runtime.inMaintenanceMode", Val: on}})
	if on {
		ctx.postEvent(&types.EnteredMaintenanceModeEvent{HostEvent: h.event()})
	} else {
		ctx.postEvent(&types.ExitMaintenanceModeEvent{HostEvent: h.event()})
	}
}

func (h *HostSystem) EnterMaintenanceModeTask(ctx *Context, req *types.EnterMaintenanceMode_Task) soap.HasFault {
	t := CreateTask(h, "enterMaintenanceMode", func(*Task) (types.AnyType, types.BaseMethodFault) { h.extMaint(ctx, true); return nil, nil })
	return &methods.EnterMaintenanceMode_TaskBody{Res: &types.EnterMaintenanceMode_TaskResponse{Returnval: t.Run()}}
}

func (h *HostSystem) ExitMaintenanceModeTask(ctx *Context, req *types.ExitMaintenanceMode_Task) soap.HasFault {
	t := CreateTask(h, "exitMaintenanceMode", func(*Task) (types.AnyType, types.BaseMethodFault) { h.extMaint(ctx, false); return nil, nil })
	return &methods.ExitMaintenanceMode_TaskBody{Res: &types.ExitMaintenanceMode_TaskResponse{Returnval: t.Run()}}
}

// ---- performance ---------------------------------------------------------------------------------
func (p *PerformanceManager) QueryPerf(ctx *Context, req *types.QueryPerf) soap.HasFault {
	for i := range req.QuerySpec {
		if s := &req.QuerySpec[i]; s.MaxSample <= 0 {
			s.MaxSample = 180 // real time statistics: one hour of 20 s samples
			if s.StartTime == nil && s.EndTime == nil {
				s.MaxSample = 1
			}
		}
	}
	for i := range req.QuerySpec { // a real vCenter refuses the whole question for one object that is gone
		if r := req.QuerySpec[i].Entity; Map.Get(r) == nil {
			return &methods.QueryPerfBody{Fault_: Fault("", &types.ManagedObjectNotFound{Obj: r})}
		}
	}
	b := p.origQueryPerf(ctx, req).(*methods.QueryPerfBody)
	if b.Fault_ != nil {
		return b
	}
	for _, e := range b.Res.Returnval {
		m, ok := e.(*types.PerfEntityMetric)
		if !ok {
			continue
		}
		if vm, ok := Map.Get(m.Entity).(*VirtualMachine); ok && vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			m.SampleInfo, m.Value = nil, nil // nothing is measured of what does not run
			continue
		}
		for i, j := 0, len(m.SampleInfo)-1; i < j; i, j = i+1, j-1 { // oldest first, as a real vCenter
			m.SampleInfo[i], m.SampleInfo[j] = m.SampleInfo[j], m.SampleInfo[i]
		}
		extMu.Lock()
		for _, s := range m.Value {
			is, ok := s.(*types.PerfMetricIntSeries)
			if !ok {
				continue
			}
			v, set := extPerf[m.Entity.Value][is.Id.CounterId]
			for k := range is.Value {
				if set {
					is.Value[k] = v
				}
				if is.Value[k] == 0 { // the encoder drops zeros from arrays
					is.Value[k] = 1
				}
			}
		}
		extMu.Unlock()
	}
	return b
}

// some of the stock event templates do not parse (VmMigratedEvent): never die of it
func (m *EventManager) formatMessage(event types.BaseEvent) {
	defer func() {
		if recover() != nil {
			event.GetEvent().FullFormattedMessage = reflect.TypeOf(event).Elem().Name()
		}
	}()
	m.origFormatMessage(event)
}

// ---- tasks history -------------------------------------------------------------------------------
type TaskHistoryCollector struct {
	mo.TaskHistoryCollector
	pos int
}

func (m *TaskManager) CreateCollectorForTasks(ctx *Context, req *types.CreateCollectorForTasks) soap.HasFault {
	c := &TaskHistoryCollector{}
	ref := ctx.Session.Put(c).Reference()
	return &methods.CreateCollectorForTasksBody{Res: &types.CreateCollectorForTasksResponse{Returnval: ref}}
}

func (c *TaskHistoryCollector) ReadNextTasks(ctx *Context, req *types.ReadNextTasks) soap.HasFault {
	b := &methods.ReadNextTasksBody{Res: new(types.ReadNextTasksResponse)}
	rec := Map.Get(*Map.content().TaskManager).(*TaskManager).RecentTask
	for ; c.pos < len(rec) && len(b.Res.Returnval) < int(req.MaxCount); c.pos++ {
		if t, ok := Map.Get(rec[c.pos]).(*Task); ok {
			b.Res.Returnval = append(b.Res.Returnval, t.Info)
		}
	}
	return b
}

func (c *TaskHistoryCollector) DestroyCollector(ctx *Context, req *types.DestroyCollector) soap.HasFault {
	ctx.Session.Remove(req.This)
	return &methods.DestroyCollectorBody{Res: new(types.DestroyCollectorResponse)}
}

// ---- alarms --------------------------------------------------------------------------------------
type AlarmManager struct {
	mo.AlarmManager
	list []types.ManagedObjectReference
}
type Alarm struct{ mo.Alarm }

func (m *AlarmManager) GetAlarm(ctx *Context, req *types.GetAlarm) soap.HasFault {
	return &methods.GetAlarmBody{Res: &types.GetAlarmResponse{Returnval: m.list}}
}

func (m *AlarmManager) CreateAlarm(ctx *Context, req *types.CreateAlarm) soap.HasFault {
	a := &Alarm{}
	s := req.Spec.GetAlarmSpec()
	for _, r := range m.list {
		if Map.Get(r).(*Alarm).Info.Name == s.Name {
			return &methods.CreateAlarmBody{Fault_: Fault("", &types.DuplicateName{Name: s.Name, Object: r})}
		}
	}
	a.Self = Map.newReference(a)
	a.Info = types.AlarmInfo{AlarmSpec: *s, Key: a.Self.Value, Alarm: a.Self, Entity: req.Entity, LastModifiedTime: time.Now(), LastModifiedUser: "vcsim"}
	Map.Put(a)
	m.list = append(m.list, a.Self)
	return &methods.CreateAlarmBody{Res: &types.CreateAlarmResponse{Returnval: a.Self}}
}

func (a *Alarm) RemoveAlarm(ctx *Context, req *types.RemoveAlarm) soap.HasFault {
	m := Map.Get(*Map.content().AlarmManager).(*AlarmManager)
	Map.WithLock(m, func() { RemoveReference(&m.list, a.Self) })
	Map.Remove(a.Self)
	return &methods.RemoveAlarmBody{Res: new(types.RemoveAlarmResponse)}
}

func (m *AlarmManager) AcknowledgeAlarm(ctx *Context, req *types.AcknowledgeAlarm) soap.HasFault {
	e := Map.Get(req.Entity).(mo.Entity).Entity()
	for i := range e.TriggeredAlarmState {
		if e.TriggeredAlarmState[i].Alarm == req.Alarm {
			e.TriggeredAlarmState[i].Acknowledged = types.NewBool(true)
		}
	}
	return &methods.AcknowledgeAlarmBody{Res: new(types.AcknowledgeAlarmResponse)}
}

// ---- installation + control plane ----------------------------------------------------------------
var extReady bool // model population skips the O(n) duplicate check

func ExtInstall() {
	extReady = true
	if ref := Map.content().AlarmManager; ref != nil {
		m := &AlarmManager{}
		m.Self = *ref
		Map.Put(m)
	}
	for _, o := range Map.All("VirtualMachine") {
		if vm := o.(*VirtualMachine); vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			extGuest(vm, true)
		}
	}
}

func extFind(name string) mo.Reference {
	for _, k := range []string{"VirtualMachine", "HostSystem", "Datastore", "ClusterComputeResource", "Datacenter"} {
		for _, o := range Map.All(k) {
			if o.Entity().Name == name || o.Reference().Value == name {
				return Map.Get(o.Reference())
			}
		}
	}
	return nil
}

// ExtControl serves POST /ctl (never part of the vSphere API): {"op": ..., ...}
func ExtControl(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Op, Name, State, Prop, Alarm string
		Value                        interface{}
		Counter                      int32
		Rule                         extRule
		Ms                           int
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	ctx := &Context{Map: Map, Context: r.Context(), Session: internalContext.Session}
	out := interface{}("ok")
	switch q.Op {
	case "expire-sessions":
		sm := Map.SessionManager()
		sessionMutex.Lock()
		out = len(sm.sessions)
		for k := range sm.sessions {
			delete(sm.sessions, k)
		}
		sessionMutex.Unlock()
	case "fault":
		extMu.Lock()
		extRules = append(extRules, &q.Rule)
		extMu.Unlock()
	case "clear":
		extMu.Lock()
		extRules, extPerf = nil, map[string]map[int32]int64{}
		extMu.Unlock()
	case "http-status":
		if StatusSDK = q.Ms; StatusSDK == 0 {
			StatusSDK = http.StatusOK
		}
	case "call-delay":
		atomic.StoreInt64(&extCallDelay, int64(q.Ms)*int64(time.Millisecond))
	case "task-delay":
		ExtTaskDelay = time.Duration(q.Ms) * time.Millisecond
	case "host-state":
		h, ok := extFind(q.Name).(*HostSystem)
		if !ok {
			http.Error(w, "no host", 404)
			return
		}
		Map.WithLock(h, func() { h.extConn(ctx, types.HostSystemConnectionState(q.State)) })
	case "perf":
		o := extFind(q.Name)
		if o == nil {
			http.Error(w, "no object", 404)
			return
		}
		extMu.Lock()
		v := o.Reference().Value
		if extPerf[v] == nil {
			extPerf[v] = map[int32]int64{}
		}
		extPerf[v][q.Counter] = int64(q.Value.(float64))
		extMu.Unlock()
	case "alarm":
		o, ok := extFind(q.Name).(mo.Entity)
		if !ok {
			http.Error(w, "no object", 404)
			return
		}
		e := o.Entity()
		st := types.AlarmState{Key: q.Alarm + "." + e.Self.Value, Entity: e.Self, Alarm: types.ManagedObjectReference{Type: "Alarm", Value: q.Alarm}, OverallStatus: types.ManagedEntityStatus(q.State), Time: time.Now(), Acknowledged: types.NewBool(false)}
		Map.WithLock(o, func() {
			var l []types.AlarmState
			for _, x := range e.TriggeredAlarmState {
				if x.Alarm != st.Alarm {
					l = append(l, x)
				}
			}
			if q.State != "green" {
				l = append(l, st)
			}
			Map.Update(o, []types.PropertyChange{{Name: "triggeredAlarmState", Val: l}, {Name: "overallStatus", Val: st.OverallStatus}})
		})
	default:
		http.Error(w, "unknown op", 400)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}
