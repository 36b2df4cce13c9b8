//! The effects that are measured, and how long an object owes them.

use orlop_model::container_state::ContainerEffect;
use orlop_model::effect::Effect;
use orlop_model::sandbox_state::SandboxEffect;

/// One effect on either kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// On a sandbox.
    Sandbox(SandboxEffect),
    /// On a container.
    Container(ContainerEffect),
}

/// Every effect that is performed. Dropping a sandbox's containers is not among them: it consists of the containers' own.
pub(crate) const STAGES: [Stage; 15] = {
    use {ContainerEffect as C, SandboxEffect as S, Stage::Container, Stage::Sandbox};
    [
        Sandbox(S::RaiseShim),
        Sandbox(S::Attach),
        Sandbox(S::DropShim),
        Sandbox(S::Detach),
        Sandbox(S::Forget),
        Container(C::PrepareRootfs),
        Container(C::Check),
        Container(C::Start),
        Container(C::AskToEnd),
        Container(C::Kill),
        Container(C::Freeze),
        Container(C::Thaw),
        Container(C::DropTask),
        Container(C::DropRootfs),
        Container(C::Forget),
    ]
};

impl Stage {
    /// Returns its name, the one that the failpoints know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sandbox(effect) => Effect::Sandbox(effect).name(),
            Self::Container(effect) => Effect::Container(effect).name(),
        }
    }

    /// Returns whether the object goes on owing it after a failure: what takes down is tried again until it is done.
    pub(crate) fn is_tried_again(self) -> bool {
        use {ContainerEffect as C, SandboxEffect as S};
        match self {
            Self::Sandbox(S::DropShim | S::Detach | S::DropContainers | S::Forget) => true,
            Self::Container(C::AskToEnd | C::Kill | C::DropTask | C::DropRootfs | C::Forget) => true,
            Self::Sandbox(S::RaiseShim | S::Attach) => false,
            Self::Container(C::PrepareRootfs | C::Check | C::Start | C::Freeze | C::Thaw) => false,
        }
    }

    /// Returns whether the object goes on owing it after a success: a process that was killed may still not end.
    pub(crate) fn is_over_with_its_success(self) -> bool {
        self != Self::Container(ContainerEffect::Kill)
    }
}
