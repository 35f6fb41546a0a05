//! The devices that were seen, and what an administrator says of them.

use ztsa_proto::name::{DeviceId, UserId};
use ztsa_proto::session::DeviceState;
use ztsa_proto::time::UnixTime;

use super::Store;
use super::row::Device;
use super::writer::Write;

impl Store {
    /// Notes that a person was seen on a device, and answers with the device.
    pub fn upsert_seen(&self, user: &UserId, device: &DeviceId, now: UnixTime) -> Device {
        let seen = {
            let mut memory = self.write();
            let entry = memory.devices.entry(device.clone()).or_insert_with(|| Device {
                id: device.clone(),
                user: user.clone(),
                state: DeviceState::Unmanaged,
                first_seen: now,
                last_seen: now,
                name: None,
                os: None,
            });
            entry.user = user.clone();
            entry.last_seen = entry.last_seen.max(now);
            entry.clone()
        };
        self.send(Write::Device(seen.clone()));
        seen
    }

    /// Notes what a device calls itself and what it runs; `None` leaves what is known.
    pub fn describe_device(&self, id: &DeviceId, name: Option<String>, os: Option<String>) {
        let changed = {
            let mut memory = self.write();
            let Some(device) = memory.devices.get_mut(id) else { return };
            let before = (device.name.clone(), device.os.clone());
            device.name = name.or(device.name.take());
            device.os = os.or(device.os.take());
            if (&device.name, &device.os) == (&before.0, &before.1) {
                return;
            }
            device.clone()
        };
        self.send(Write::Device(changed));
    }

    /// Finds a device.
    pub fn device(&self, id: &DeviceId) -> Option<Device> {
        self.read().devices.get(id).cloned()
    }

    /// Says whether an administrator blocked a device.
    pub fn is_blocked(&self, id: &DeviceId) -> bool {
        self.read().devices.get(id).is_some_and(|device| device.state == DeviceState::Blocked)
    }

    /// Approves, blocks or releases a known device; `None` when it is not known.
    pub fn set_device_state(&self, id: &DeviceId, state: DeviceState) -> Option<Device> {
        let changed = {
            let mut memory = self.write();
            let device = memory.devices.get_mut(id)?;
            device.state = state;
            device.clone()
        };
        self.send(Write::Device(changed.clone()));
        Some(changed)
    }

    /// Forgets a device; says whether it was known. When it is seen again, it is a new one.
    pub fn delete_device(&self, id: &DeviceId) -> bool {
        let known = self.write().devices.remove(id).is_some();
        if known {
            self.send(Write::DeleteDevice(id.clone()));
        }
        known
    }

    /// Lists the devices, the last seen first.
    pub fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = self.read().devices.values().cloned().collect();
        devices.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.id.cmp(&b.id)));
        devices
    }
}
