//! What each operation does, one file each.

pub(crate) mod containers;
mod exec;
mod images;
pub(crate) mod networks;
mod plugins;
mod system;
mod volumes;

pub(crate) use system::info::{architecture, cgroup_version, memory_bytes};

use crate::http::operation::Operation as O;
use crate::http::reply::Answered;
use crate::http::server::Call;

/// Answers a request. No wildcard: an operation of the table is answered here.
pub(crate) async fn answer(operation: O, call: Call) -> Answered {
    match operation {
        O::Ping => system::ping::answer(),
        O::Version => system::version::answer(&call),
        O::Info => system::info::answer(&call).await,
        O::Events => system::events::answer(&call),
        O::Auth => system::auth::answer(call).await,
        O::NetworkList => networks::list::answer(&call),
        O::NetworkInspect => networks::inspect::answer(&call),
        O::NetworkRemove => networks::remove::answer(&call),
        O::NetworkPrune => networks::prune::answer(&call),
        O::VolumeList => volumes::list::answer(&call),
        O::VolumeCreate => volumes::create::answer(call).await,
        O::VolumeInspect => volumes::inspect::answer(&call),
        O::VolumeRemove => volumes::remove::answer(&call).await,
        O::VolumePrune => volumes::prune::answer(&call).await,
        O::PluginList => plugins::list(&call),
        O::PluginInspect => plugins::inspect(&call),
        O::DiskUsage => system::disk_usage::answer(&call).await,
        O::ContainerList => containers::list::answer(&call).await,
        O::ContainerCreate => containers::create::answer(call).await,
        O::ContainerInspect => containers::inspect::answer(&call).await,
        O::ContainerChanges => containers::changes::answer(&call).await,
        O::ContainerLogs => containers::logs::answer(&call),
        O::ContainerStart => containers::start::answer(&call).await,
        O::ContainerStop => containers::stop::stop(&call).await,
        O::ContainerRestart => containers::stop::restart(&call).await,
        O::ContainerKill => containers::kill::answer(&call).await,
        O::ContainerUpdate => containers::update::answer(call).await,
        O::ContainerRename => containers::rename::answer(&call).await,
        O::ContainerPause => containers::freeze::pause(&call).await,
        O::ContainerUnpause => containers::freeze::unpause(&call).await,
        O::ContainerAttach => containers::attach::answer(call),
        O::ContainerStats => containers::stats::answer(&call).await,
        O::ContainerArchiveHead => containers::archive::head(&call).await,
        O::ContainerArchiveGet => containers::archive::get(&call).await,
        O::ContainerArchivePut => containers::archive::put(call).await,
        O::ContainerWait => containers::wait::answer(&call),
        O::ContainerRemove => containers::remove::answer(&call).await,
        O::ContainerPrune => containers::prune::answer(&call).await,
        O::ImageList => images::list::answer(&call).await,
        O::ImageCreate => images::create::answer(&call).await,
        O::ImageInspect => images::inspect::answer(&call).await,
        O::ImageHistory => images::history::answer(&call).await,
        O::ImageTag => images::tag::answer(&call).await,
        O::ImageRemove => images::remove::answer(&call).await,
        O::ImagePrune => images::prune::answer(&call).await,
        O::ContainerTop => containers::top::answer(&call).await,
        O::ContainerResize => containers::resize::answer(&call).await,
        O::Commit => containers::commit::answer(call).await,
        O::ExecCreate => exec::create::answer(call).await,
        O::ExecStart => exec::start::answer(call).await,
        O::ExecResize => exec::resize::answer(&call),
        O::ExecInspect => exec::inspect::answer(&call),
    }
}
