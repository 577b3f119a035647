//! What a process that reads foreign content gives up, layer by layer, and for good.
//!
//! First comes what can be given up before anything is loaded, and what every thread inherits: new privileges, the file system, the
//! network. Once all threads and all machine code are there, system calls follow: from then on the process can compute, answer its owner,
//! and nothing else. A layer that the system lacks is told, not hidden; whether that is good enough is the owner's decision.

mod landlock;
mod seccomp;

use std::{fmt, io, sync::Arc, sync::atomic::AtomicBool};

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

/// One thing that a sandbox cannot do any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// It ends with the process that started it.
    ParentDeath,
    /// No other process of this user looks into it, and its memory is never written to a file.
    Undumpable,
    /// It opens no file and no connection, by Landlock.
    Landlock,
    /// It uses none but the few system calls that computing takes, by seccomp. Implies that it gains no privileges.
    Seccomp,
    /// It writes no file, opens next to none, and has no more memory than its scan was granted.
    Limits,
}

/// Which layers are in force, and why the others are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// In force.
    pub in_force: Vec<Layer>,
    /// Not in force, and what kept them from it.
    pub missing: Vec<(Layer, String)>,
}

/// Whether a process gives anything up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// Every layer that the system has.
    On,
    /// Every layer, or no sandbox.
    Required,
    /// None, to look for a fault of ours.
    Off,
}

impl Layer {
    pub const ALL: [Self; 5] = [Self::ParentDeath, Self::Undumpable, Self::Landlock, Self::Seccomp, Self::Limits];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParentDeath => "parent_death",
            Self::Undumpable => "undumpable",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Limits => "limits",
        }
    }

    /// What an operator can do about its absence.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Landlock => {
                "it takes Linux 5.13 or newer with landlock among its security modules (lsm=landlock,…), and in a container a seccomp profile that permits the landlock_* calls"
            }
            Self::Seccomp => "it takes a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or ARM64",
            Self::ParentDeath | Self::Undumpable => "it takes a seccomp profile of the container that permits prctl",
            Self::Limits => "it takes a seccomp profile of the container that permits prlimit64",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Layers {
    /// Whether nothing is missing.
    pub fn are_complete(&self) -> bool {
        Layer::ALL.iter().all(|layer| self.in_force.contains(layer))
    }

    fn add(&mut self, layer: Layer, applied: Result<(), String>) {
        match applied {
            Ok(()) => self.in_force.push(layer),
            Err(reason) => self.missing.push((layer, reason)),
        }
    }

    /// All of them, switched off.
    fn off() -> Self {
        let missing = Layer::ALL.iter().map(|layer| (*layer, "switched off by FILESAFETY_SANDBOX".to_owned())).collect();
        Self { in_force: Vec::new(), missing }
    }
}

/// A process on its way into confinement.
pub(crate) struct Lockdown {
    layers: Layers,
    confinement: Confinement,
}

impl Lockdown {
    /// What can be given up before anything is loaded; threads that come later inherit it. To be called while there is one thread.
    pub(crate) fn begin(confinement: Confinement) -> Self {
        // Whoever stops the service, by its terminal or by its group, stops the owner, which ends its sandboxes in its time.
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            // Taken note of, which nobody reads. Where that fails, a sandbox may end early, and its scan is run again.
            let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
        }
        if confinement == Confinement::Off {
            return Self { layers: Layers::off(), confinement };
        }
        let mut layers = Layers::default();
        layers.add(Layer::ParentDeath, told(set_parent_process_death_signal(Some(Signal::KILL))));
        layers.add(Layer::Undumpable, told(set_dumpable_behavior(DumpableBehavior::NotDumpable)));
        layers.add(Layer::Landlock, landlock::apply());
        Self { layers, confinement }
    }

    /// What is given up once every thread is there and everything is loaded.
    pub(crate) fn finish(self) -> Layers {
        let Self { mut layers, confinement } = self;
        match confinement {
            Confinement::Off => {}
            Confinement::On | Confinement::Required => {
                layers.add(Layer::Limits, told(limit()));
                layers.add(Layer::Seccomp, seccomp::apply());
            }
        }
        layers
    }
}

/// The descriptors that a sandbox has open at any time: its socket, the content, and what else comes with a frame.
const OPEN_FILES: u64 = 32;

/// How much memory there may be is set by the owner, scan by scan.
fn limit() -> io::Result<()> {
    for (resource, most) in [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, OPEN_FILES)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

fn told<E: fmt::Display>(applied: Result<(), E>) -> Result<(), String> {
    applied.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
