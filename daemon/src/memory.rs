//! Gives memory back to the kernel after pods have gone: a node that once had many must not pay for them for ever.

use orlop_usecases::Engine;
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{env, io};
use tracing::debug;

/// How often it is looked whether pods have gone. Giving back takes some milliseconds, on a thread of its own.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often memory is given back after pods have gone: what threads keep for themselves is free only when they have ended.
const TIMES: u32 = 3;

/// The variable that holds the settings of glibc; see "Memory Allocation Tunables" in its manual.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// One heap for all threads, and nothing that a thread keeps for itself: what is free can be given back. After three hundred pods
/// have gone the daemon holds 4 MB so, and 7 to 8 MB otherwise; its requests take as long within what can be measured.
const ONE_HEAP: &str = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0";

/// Starts this program anew with settings for glibc's heap, which it reads at no other time. Returns when there are some already,
/// its own or somebody else's; or what was wrong, which is no reason not to serve.
pub fn settle_heap() -> io::Result<()> {
    if env::var_os(TUNABLES).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "orlopd".into());
    Err(Command::new(env::current_exe()?).arg0(name).args(arguments).env(TUNABLES, ONE_HEAP).exec())
}

/// Looks now and then, until it is dropped.
pub async fn give_back_when_pods_go(engine: &Engine) -> Infallible {
    let (mut before, mut owed) = (0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let gone = engine.sandboxes_gone();
        if gone != before {
            (before, owed) = (gone, TIMES);
        }
        if owed > 0 {
            owed -= 1;
            let given = tokio::task::spawn_blocking(orlop_sys::memory::give_back).await.unwrap_or_default();
            debug!(gone, given, "memory of pods that have gone is given back");
        }
    }
}
