//! The calls of Windows that loaders make, as far as they need an answer.

use super::{EAX, ESP, Machine, memory::Width, system};

/// What a call does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// It says this.
    Answer(u32),
    /// The handle of a library.
    Library,
    /// Likewise, where no name means the program itself.
    Module,
    /// The address of another call.
    Address,
    /// Memory: which argument is the address that is wished, and which the length.
    Allocate(Option<u32>, u32),
    /// Rights of memory, all of which it has.
    Protect,
    /// What its argument was.
    Same,
    /// Where the program's file is.
    FileName,
}

/// A call: its name, how many arguments it takes off the stack, what it does.
struct Served(&'static str, u32, Effect);

/// In the order of their names, as a table of exports has them.
const SERVED: &[Served] = &[
    Served("CloseHandle", 1, Effect::Answer(1)),
    Served("CreateFileA", 7, Effect::Answer(u32::MAX)),
    Served("CreateToolhelp32Snapshot", 2, Effect::Answer(u32::MAX)),
    Served("FlushInstructionCache", 3, Effect::Answer(1)),
    Served("FreeLibrary", 1, Effect::Answer(1)),
    Served("GetCurrentProcess", 0, Effect::Answer(u32::MAX)),
    Served("GetCurrentProcessId", 0, Effect::Answer(0x0a14)),
    Served("GetCurrentThread", 0, Effect::Answer(u32::MAX - 1)),
    Served("GetCurrentThreadId", 0, Effect::Answer(0x0a18)),
    Served("GetFileSize", 2, Effect::Answer(u32::MAX)),
    Served("GetLastError", 0, Effect::Answer(0)),
    Served("GetModuleFileNameA", 3, Effect::FileName),
    Served("GetModuleHandleA", 1, Effect::Module),
    Served("GetProcAddress", 2, Effect::Address),
    Served("GetProcessHeap", 0, Effect::Answer(0x0014_0000)),
    Served("GetTickCount", 0, Effect::Answer(0x0010_0000)),
    Served("GetVersion", 0, Effect::Answer(0x1db1_0106)),
    Served("GlobalAlloc", 2, Effect::Allocate(None, 1)),
    Served("GlobalFree", 1, Effect::Answer(0)),
    Served("GlobalLock", 1, Effect::Same),
    Served("GlobalUnlock", 1, Effect::Answer(0)),
    Served("HeapAlloc", 3, Effect::Allocate(None, 2)),
    Served("HeapFree", 3, Effect::Answer(1)),
    Served("IsDebuggerPresent", 0, Effect::Answer(0)),
    Served("LoadLibraryA", 1, Effect::Library),
    Served("LoadLibraryExA", 3, Effect::Library),
    Served("LocalAlloc", 2, Effect::Allocate(None, 1)),
    Served("LocalFree", 1, Effect::Answer(0)),
    Served("MessageBoxA", 4, Effect::Answer(1)),
    Served("OutputDebugStringA", 1, Effect::Answer(0)),
    Served("Process32First", 2, Effect::Answer(0)),
    Served("Process32Next", 2, Effect::Answer(0)),
    Served("ReadFile", 5, Effect::Answer(0)),
    Served("SetErrorMode", 1, Effect::Answer(0)),
    Served("SetLastError", 1, Effect::Answer(0)),
    Served("SetUnhandledExceptionFilter", 1, Effect::Answer(0)),
    Served("Sleep", 1, Effect::Answer(0)),
    Served("VirtualAlloc", 4, Effect::Allocate(Some(0), 1)),
    Served("VirtualFree", 3, Effect::Answer(1)),
    Served("VirtualProtect", 4, Effect::Protect),
];

/// Calls that loaders look for, and do not make unless something is wrong: they have an address, and end the run.
const KNOWN: &[&str] = &[
    "CheckRemoteDebuggerPresent",
    "ContinueDebugEvent",
    "CreateFileMappingA",
    "CreateMutexA",
    "CreateProcessA",
    "CreateThread",
    "DebugActiveProcess",
    "ExitProcess",
    "ExitThread",
    "FindResourceA",
    "FreeResource",
    "GetCommandLineA",
    "GetModuleHandleW",
    "GetStartupInfoA",
    "GetSystemDirectoryA",
    "GetSystemTime",
    "GetThreadContext",
    "GetVersionExA",
    "GetWindowsDirectoryA",
    "GlobalReAlloc",
    "HeapCreate",
    "HeapDestroy",
    "HeapReAlloc",
    "LoadLibraryW",
    "LoadResource",
    "LockResource",
    "MapViewOfFile",
    "OpenProcess",
    "QueryPerformanceCounter",
    "RaiseException",
    "ReadProcessMemory",
    "ResumeThread",
    "SetFilePointer",
    "SetThreadContext",
    "SizeofResource",
    "SuspendThread",
    "TerminateProcess",
    "TerminateThread",
    "UnhandledExceptionFilter",
    "UnmapViewOfFile",
    "VirtualAllocEx",
    "VirtualFreeEx",
    "VirtualProtectEx",
    "VirtualQuery",
    "WaitForDebugEvent",
    "WaitForSingleObject",
    "WriteFile",
    "WriteProcessMemory",
    "lstrcatA",
    "lstrcmpA",
    "lstrcmpiA",
    "lstrcpyA",
    "lstrlenA",
];

const MAX_NAME: u32 = 256;
const FILE_NAME: &[u8; 15] = b"C:\\program.exe\0";
/// A call takes as long as so many instructions.
const STEPS: u64 = 100;

/// The names of all that has an address from the beginning.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SERVED.iter().map(|served| served.0).chain(KNOWN.iter().copied())
}

impl Machine {
    /// Serves the call that the program has jumped to; whether it goes on.
    pub(super) fn serve(&mut self) -> bool {
        self.steps += STEPS;
        if self.eip == system::HANDLED {
            return self.end_handler();
        }
        let Some(name) = self.system.name_at(self.eip) else { return false };
        let Some(&Served(_, arguments, effect)) = SERVED.iter().find(|served| served.0.as_bytes() == name) else { return false };
        let Ok(back) = self.pop(Width::Double) else { return false };
        let answer = self.answer(effect);
        self.registers[EAX] = answer;
        self.registers[ESP] = self.registers[ESP].wrapping_add(arguments * 4);
        self.eip = back;
        true
    }

    fn argument(&self, index: u32) -> u32 {
        self.memory.load(self.registers[ESP].wrapping_add(index * 4), Width::Double).unwrap_or(0)
    }

    fn answer(&mut self, effect: Effect) -> u32 {
        match effect {
            Effect::Answer(value) => value,
            Effect::Same => self.argument(0),
            Effect::FileName => {
                let place = self.argument(1);
                for (at, byte) in (0u32..self.argument(2)).zip(*FILE_NAME) {
                    let _ = self.memory.store(place.wrapping_add(at), Width::Byte, u32::from(byte));
                }
                FILE_NAME.len() as u32 - 1
            }
            Effect::Module if self.argument(0) == 0 => self.base,
            Effect::Library | Effect::Module => self.library(self.argument(0)),
            Effect::Address => {
                let name = self.argument(1);
                let name = if name >> 16 == 0 { format!("#{name}").into_bytes() } else { self.memory.text(name, MAX_NAME) };
                // Loaders go on until a name is none.
                let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
                if is_name { self.system.address_of(&name).unwrap_or(0) } else { 0 }
            }
            Effect::Allocate(wanted, length) => {
                let wanted = wanted.map_or(0, |index| self.argument(index));
                self.system.allocate(wanted, self.argument(length), &mut self.memory)
            }
            Effect::Protect => {
                // What rights it had: to read, write and run.
                let _ = self.memory.store(self.argument(3), Width::Double, 0x40);
                1
            }
        }
    }

    /// Any library can be loaded; only one has something in it.
    fn library(&mut self, name: u32) -> u32 {
        const OTHERS: u32 = 0x7000_0000;
        let name = self.memory.text(name, MAX_NAME).to_ascii_lowercase();
        if name.starts_with(b"kernel32") {
            return system::KERNEL;
        }
        if name.is_empty() {
            return 0;
        }
        self.system.modules = self.system.modules.wrapping_add(1);
        OTHERS + (self.system.modules & 0xff) * 0x1_0000
    }
}
