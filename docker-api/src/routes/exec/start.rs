//! `POST /exec/{id}/start`

use crate::app::App;
use crate::dto::exec::{EXEC_START, ExecStartRequest};
use crate::execs::{Exec, ExecState};
use crate::http::body::{self, Asked};
use crate::http::error::ApiError;
use crate::http::reply::{Answered, empty};
use crate::http::server::Call;
use crate::not_started::{NOT_FOUND, NOT_RUNNABLE, NotStarted, Why};
use crate::routes::containers::find::Found;
use crate::stream::client::{self, Opened};
use crate::stream::detach::DetachKeys;
use crate::stream::frame::Framing;
use crate::stream::process::{Carried, carry};
use crate::translate::process::exec_environment;
use crate::translate::terminal;
use hyper::StatusCode;
use orlop_model::ports::{Answer, ExecEnded, ExecIo, ExecOverrides, OpenExec};
use orlop_model::streams::WantedStreams;
use orlop_model::{ErrorKind, Failure};
use std::sync::Arc;

/// Exit status of a program that could not be run, when nothing else is known.
const NOT_RUN: i32 = 126;

pub(crate) async fn answer(call: Call) -> Answered {
    let name = call.name().to_owned();
    let Call { app, request, version, .. } = call;
    let (head, body) = request.into_parts();
    let exec = super::find(&app, &name)?;
    let asked: Asked<ExecStartRequest> = body::json(&head.headers, body, "ExecStartOptions", EXEC_START).await?;
    app.metrics.unknown.inc_by(asked.unknown);
    let asked = asked.value.unwrap_or_default();
    let found = super::running(&app, exec.container.as_str())?;
    let size = asked.console_size.as_ref().or(exec.asked.console_size.as_ref());
    let size = size.map(|size| terminal::of_list(size)).transpose()?.unwrap_or_default();
    if !exec.begin() {
        return Err(ApiError::conflict(format!("exec {} has already run", exec.id)));
    }
    let run = Run { app, exec, found, size };
    if asked.detach {
        // Owned by the program, which outlives the request.
        tokio::spawn(run.alone());
        return empty(StatusCode::OK);
    }
    // By what the start says, not by what the program has: a client reads the stream as it asked for it.
    let framing = Framing::of(asked.tty);
    let (reply, opened) = client::open_head(head, framing.media_type(version));
    // Before the answer: what can't even be tried, such as a user who is not there, is an answer with a status.
    match run.open(run.wanted()).await {
        Ok(open) => tokio::spawn(run.with_client(open, opened, framing)),
        Err(failure) => {
            run.end(run.failed(&failure));
            return Err(failure.into());
        }
    };
    Ok(reply)
}

/// Looks, when a program could not be started, what was in the way.
fn looked_at(app: Arc<App>, exec: Arc<Exec>, ended: Ended) -> Ended {
    Box::pin(async move {
        let ended = ended.await?;
        if ended.never_started.is_none() {
            return Ok(ended);
        }
        let code = u8::try_from(ended.exit_code).unwrap_or(NOT_RUNNABLE);
        let program = exec.asked.cmd.first().map(String::as_str).unwrap_or_default();
        let not_started = NotStarted { code, program, folder: &exec.asked.working_dir };
        Ok(match not_started.look(&app, &exec.container).await {
            Why::Program(why) => ExecEnded { never_started: Some(why), ..ended },
            Why::NoFolder(why) => ExecEnded { exit_code: i32::from(NOT_FOUND), never_started: Some(why) },
            Why::Other => ended,
        })
    })
}

/// What waits for a program's end.
type Ended = Answer<'static, orlop_model::error::Result<ExecEnded>>;

/// One program being run.
struct Run {
    app: Arc<App>,
    exec: Arc<Exec>,
    found: Found,
    size: orlop_model::streams::TerminalSize,
}

impl Run {
    async fn alone(self) {
        let opened = self.open(WantedStreams::default()).await;
        let code = match opened {
            Ok(open) => {
                let ended = carry(open, None).await;
                ended.map_or(NOT_RUN, |carried| carried.code)
            }
            Err(failure) => self.failed(&failure),
        };
        self.end(code);
    }

    /// Returns the streams that were asked for.
    fn wanted(&self) -> WantedStreams {
        let asked = &self.exec.asked;
        WantedStreams {
            stdin: asked.attach_stdin,
            stdout: asked.attach_stdout,
            stderr: asked.attach_stderr && !asked.tty,
        }
    }

    async fn with_client(self, open: OpenExec, opened: Opened, framing: Framing) {
        let asked = &self.exec.asked;
        let keys = DetachKeys::parse(&asked.detach_keys).ok().filter(|_| asked.tty && asked.attach_stdin);
        // One that has gone before it had its stream does not end the program either.
        let client = opened.await.map(|(input, output)| client::Client { input, output, framing, keys });
        let carried = carry(open, client).await;
        let (code, rest) = carried.map_or((NOT_RUN, None), |Carried { code, output }| (code, output));
        // The client asks for the exit status when its stream has ended.
        self.end(code);
        if let Some(mut output) = rest {
            client::end(&mut output).await;
        }
    }

    async fn open(&self, streams: WantedStreams) -> Result<OpenExec, Failure> {
        let asked = &self.exec.asked;
        let overrides = ExecOverrides {
            user: asked.user.clone(),
            env: exec_environment(&asked.env, asked.tty),
            working_dir: asked.working_dir.clone(),
            privileged: asked.privileged,
        };
        let io = ExecIo { streams, terminal: asked.tty.then_some(self.size) };
        let mut open =
            crate::seam::exec_open(&self.app.facade, &self.exec.container, &asked.cmd, &overrides, io).await?;
        open.ended = looked_at(Arc::clone(&self.app), Arc::clone(&self.exec), open.ended);
        self.exec.become_(ExecState::Running { pid: open.pid });
        if asked.tty
            && let Some(terminal) = &open.streams.stdout
        {
            self.exec.keep_terminal(terminal);
        }
        let command = asked.cmd.join(" ");
        self.app.tell_of(&self.found, &format!("exec_start: {command}"), &[("execID", &self.exec.id)]);
        Ok(open)
    }

    fn failed(&self, failure: &Failure) -> i32 {
        tracing::debug!(exec = %self.exec.id, error = %failure, "a program could not be run in a container");
        if failure.kind == ErrorKind::NotFound { 127 } else { NOT_RUN }
    }

    fn end(&self, code: i32) {
        let pid = match self.exec.state() {
            ExecState::Running { pid } | ExecState::Ended { pid, .. } => pid,
            ExecState::Created => 0,
        };
        self.exec.become_(ExecState::Ended { pid, code });
        self.app.tell_of(&self.found, "exec_die", &[("execID", &self.exec.id), ("exitCode", &code.to_string())]);
    }
}
