//! `GET /version`

use crate::http::reply::{Answered, json};
use crate::http::server::Call;
use crate::http::version;
use serde_json::json;

pub(crate) fn answer(call: &Call) -> Answered {
    let kernel = super::info::kernel();
    let daemon = call.app.config.version;
    let (api, api_min) = (version::MAX.to_string(), version::MIN.to_string());
    json(&json!({
        "Platform": { "Name": "orlop" },
        "Components": [{
            "Name": "Engine",
            "Version": daemon,
            "Details": {
                "ApiVersion": api, "MinAPIVersion": api_min, "Arch": super::info::architecture(), "Os": "linux",
                "KernelVersion": kernel, "Experimental": "false", "GitCommit": "", "GoVersion": "", "BuildTime": "",
            },
        }],
        "Version": daemon,
        "ApiVersion": api,
        "MinAPIVersion": api_min,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": super::info::architecture(),
        "KernelVersion": kernel,
        "BuildTime": "",
    }))
}
