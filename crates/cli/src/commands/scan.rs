//! `scan`: judge files where they lie, without a service.

mod judge;
mod memory;
mod print;
mod walk;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context as _, Result};
use filesafety_engine::{Blueprint, Config as EngineConfig};
use filesafety_model::{Ask, Password, ScanTypes};
use filesafety_sandbox::{Pool, PoolConfig, Warmth};
use filesafety_server::config::Config;

use super::{CLEAN, FOUND, UNSURE, worker};
use crate::{
    arguments::{ScanArguments, ScanType},
    settings::SettingFlags,
};
use judge::{Judge, Outcome};
use memory::ScanMemory;
use print::Printer;
use walk::Target;

/// Files that wait for a worker.
const WAITING: usize = 256;
/// Files between the one being found and the one being printed. Output keeps the order in which files were found, so that two runs can be compared.
const AHEAD: usize = 16 * 1024;

/// What the verdicts of all files come to; the worst is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Clean,
    Unsure,
    Found,
}

impl Standing {
    fn exit_code(self) -> u8 {
        match self {
            Self::Clean => CLEAN,
            Self::Unsure => UNSURE,
            Self::Found => FOUND,
        }
    }
}

pub(super) fn run(arguments: ScanArguments, config: Option<PathBuf>) -> Result<u8> {
    let flags = SettingFlags::default()
        .with("policy", arguments.policy)
        .with("rules_dir", arguments.rules_dir)
        .with("clamd", arguments.clamd)
        .with("scan_threads", arguments.threads);
    let config = flags.config_without_listening(config)?;
    let names = arguments.types.iter().map(|one| match one {
        ScanType::Virus => "virus",
        ScanType::Nsfw => "nsfw",
    });
    let types = ScanTypes::parse(names)?;
    let given = arguments.passwords.iter().map(|text| Password::new(text.as_str()).context("--password"));
    let mut passwords = given.collect::<Result<Vec<_>>>()?;
    passwords.extend(config.archive_passwords.iter().cloned());
    let (rules_dir, cache_dir) = (config.rules_dir.clone(), cache_dir());
    let clamdb_pua = config.clamdb_pua;
    let (clamd, limits, picture_models) = (config.clamd.clone(), config.limits, config.picture_models.clone());
    let engine = EngineConfig { rules_dir, cache_dir, clamdb_pua, clamd, limits, passwords, picture_models };
    let blueprint = Arc::new(Blueprint::load(engine).context("the engines cannot start")?);
    let pool = PoolConfig {
        program: worker::program(),
        size: config.scan_threads.get(),
        warmth: Warmth::AsNeeded,
        confinement: config.confinement,
    };
    let pool = Pool::start(pool, blueprint).context("the engines cannot start")?;
    let mut printer = Printer::new(arguments.json, arguments.quiet);
    let standing = scan_all(&arguments.paths, &config, &pool, types, &mut printer)?;
    printer.finish()?;
    Ok(standing.exit_code())
}

/// `filesafety` in the user's folder for caches, where the environment names one: compiled signatures are kept there.
pub(super) fn cache_dir() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")))?.join("filesafety"))
}

/// One thread walks, several judge, this one prints.
fn scan_all(paths: &[PathBuf], config: &Config, pool: &Pool, types: ScanTypes, printer: &mut Printer) -> Result<Standing> {
    let memory = ScanMemory::new(config.scan_memory);
    let ask = Ask { types, required: pool.blueprint().required().to_vec() };
    let (targets, waiting) = mpsc::sync_channel::<(u64, Target)>(WAITING);
    let waiting = Mutex::new(waiting);
    let (outcomes, finished) = mpsc::sync_channel::<(u64, Outcome)>(WAITING);
    let (ahead, printed) = mpsc::sync_channel::<()>(AHEAD);
    let progress = printer.progress();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut index = 0;
            walk::walk(paths, &mut |target| {
                progress.inc_length(1);
                let sent = ahead.send(()).is_ok() && targets.send((index, target)).is_ok();
                index += 1;
                sent
            });
        });
        for _ in 0..config.scan_threads.get() {
            let (outcomes, waiting, memory, ask) = (outcomes.clone(), &waiting, &memory, &ask);
            let work = move || {
                let judge = Judge { pool, policy: &config.policy, ask, memory, largest: config.intake.file };
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((index, target)) = next else { return };
                    if outcomes.send((index, judge.judge(target))).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().spawn_scoped(scope, work).context("the system gives no thread")?;
        }
        drop(outcomes);
        let standing = print_in_order(finished, &printed, printer);
        // After an error the walker and the workers end by themselves: nobody listens any more.
        drop(printed);
        standing
    })
}

fn print_in_order(finished: mpsc::Receiver<(u64, Outcome)>, printed: &mpsc::Receiver<()>, printer: &mut Printer) -> Result<Standing> {
    let mut standing = Standing::Clean;
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (index, outcome) in finished {
        early.insert(index, outcome);
        while let Some(outcome) = early.remove(&next) {
            next += 1;
            standing = standing.max(outcome.standing());
            printer.print(&outcome)?;
            let _one_each = printed.recv();
        }
    }
    Ok(standing)
}
