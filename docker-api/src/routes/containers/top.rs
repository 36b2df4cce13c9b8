//! `GET /containers/{id}/top`: the node's `ps`, of the container's processes alone.

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use serde_json::json;
use std::time::Duration;
use tokio::process::Command;

/// How long `ps` may take.
const PS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn answer(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let id = found.id();
    if found.view.state.task().is_none() {
        return Err(ApiError::conflict(format!("container {id} is not running")));
    }
    let args: Vec<&str> = match call.query.text("ps_args") {
        "" => vec!["-ef"],
        text => text.split_whitespace().collect(),
    };
    let pids = crate::seam::processes(&call.app.facade, id).await?;
    let table = table(&ps(&args).await?, &pids)?;
    call.app.tell_of(&found, "top", &[]);
    json(&json!({ "Titles": table.0, "Processes": table.1 }))
}

/// Runs the node's `ps`. Its arguments are words, never a line for a shell.
async fn ps(args: &[&str]) -> Result<String, ApiError> {
    let ran = Command::new("ps").args(args).kill_on_drop(true).output();
    let failed = |why: &dyn std::fmt::Display| ApiError::internal(format!("Error running ps: {why}"));
    let output = tokio::time::timeout(PS_WITHIN, ran).await.map_err(|_| failed(&"it took too long"))?;
    let output = output.map_err(|wrong| failed(&wrong))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&said.lines().next().unwrap_or("it failed")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

type Table = (Vec<String>, Vec<Vec<String>>);

/// Returns the lines of these processes, split at the titles; the last column takes the rest.
fn table(text: &str, pids: &[u32]) -> Result<Table, ApiError> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let pid_at = titles.iter().position(|title| title == "PID");
    let pid_at = pid_at.ok_or_else(|| ApiError::internal("Couldn't find PID field in ps output"))?;
    let fields = |line: &str| {
        let mut words = line.split_whitespace();
        let mut fields: Vec<String> = words.by_ref().take(titles.len() - 1).map(str::to_owned).collect();
        fields.push(words.collect::<Vec<_>>().join(" "));
        fields
    };
    let ours = |fields: &Vec<String>| {
        fields.get(pid_at).and_then(|pid| pid.parse().ok()).is_some_and(|pid| pids.contains(&pid))
    };
    let processes = lines.map(fields).filter(ours).collect();
    Ok((titles, processes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let text = "UID PID PPID CMD\nroot 1 0 init\nroot 7 1 sleep 10 s\n";
        let (titles, processes) = table(text, &[7]).unwrap();
        assert_eq!(titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(processes, [["root", "7", "1", "sleep 10 s"]]);
        assert!(table("A B\n", &[]).is_err());
    }
}
