//! Two thousand pods' lives from seeds, and a thousand of containers alone, with faults of every kind, each also with the daemon dying
//! at random steps. What was hit is
//! counted: an effect around which no daemon died, or a fault that never came, fails the run.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container_state::ContainerEffect;
use orlop_model::effect::{Effect, Moment, Operation};
use orlop_sim::{Fault, Tally};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;
use support::alone_life::live_alone;
use support::life::{Life, Lived, Plan, live};

const SEEDS: u64 = 2000;
/// Of so many seeds, one is also lived by containers alone.
const ONE_ALONE_OF: u64 = 2;
/// Steps of each life at which the daemon dies, one in each run.
const DEATHS_OF_EACH: u64 = 15;
/// Of a thousand effects, so many are faulty.
const FAULTS_PER_MILLE: u64 = 40;
/// Threads that live lives.
const THREADS: u64 = 2;

#[test]
fn thousands_of_lives_keep_the_laws_and_hit_everything() {
    let begun = Instant::now();
    let tallies = std::thread::scope(|scope| {
        let shares = (0..THREADS).map(|thread| scope.spawn(move || share(thread)));
        let shares: Vec<_> = shares.collect();
        shares.into_iter().map(|share| share.join().unwrap()).collect::<Vec<_>>()
    });
    let mut tally = Tally::default();
    tallies.iter().for_each(|each| tally.add(each));
    tell(&tally, begun.elapsed().as_secs_f64());

    let mut unhit: Vec<String> = Vec::new();
    for effect in of_the_engine() {
        for moment in [Moment::Before, Moment::After] {
            if !tally.crashes.contains_key(&(effect, moment)) {
                unhit.push(format!("no daemon died {moment} {effect}"));
            }
        }
    }
    let missing = Fault::ALL.into_iter().filter(|fault| !tally.faults.contains_key(fault));
    unhit.extend(missing.map(|fault| format!("{fault:?} never came")));
    assert!(unhit.is_empty(), "{unhit:#?}");
}

fn share(thread: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in (thread..SEEDS).step_by(THREADS as usize) {
        let faults_per_mille = if seed % 4 == 0 { 0 } else { FAULTS_PER_MILLE };
        let life = Life { seed, faults_per_mille, wild: seed % 2 == 1, ..Life::default() };
        live_and_die(life, live, &mut tally);
        if (seed / THREADS).is_multiple_of(ONE_ALONE_OF) {
            live_and_die(life, live_alone, &mut tally);
        }
    }
    tally
}

/// Lives a life once whole, and again with deaths at some of its steps.
fn live_and_die(life: Life, live: fn(Life) -> Lived, tally: &mut Tally) {
    let lived = live(life);
    tally.add(&lived.tally);
    for death in 0..DEATHS_OF_EACH {
        let step = Plan(life.seed * 1000 + death).below(lived.steps.max(1));
        tally.add(&live(Life { dies_at: Some(step), ..life }).tally);
    }
}

/// Every effect that an operation of the engine consists of. What the adapters do within one is crashed on the real thing.
fn of_the_engine() -> BTreeSet<Effect> {
    let all = Operation::ALL.into_iter().flat_map(Operation::effects).copied();
    all.filter(|effect| !matches!(effect, Effect::Network(_) | Effect::Image(_))).collect()
}

/// Tells the counts, past the harness, which would keep them for itself.
fn tell(tally: &Tally, seconds: f64) {
    let lives = (SEEDS + SEEDS / ONE_ALONE_OF) * (1 + DEATHS_OF_EACH);
    let mut text = format!("simulator: {SEEDS} seeds, {lives} lives in {seconds:.1} s\n");
    for effect in of_the_engine() {
        let died = |moment| tally.crashes.get(&(effect, moment)).copied().unwrap_or_default();
        let (before, after) = (died(Moment::Before), died(Moment::After));
        writeln!(text, "  died before {before:5}, after {after:5}  {effect}").unwrap();
    }
    for fault in Fault::ALL {
        writeln!(text, "  {:6} times  {fault:?}", tally.faults.get(&fault).copied().unwrap_or_default()).unwrap();
    }
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[test]
fn every_effect_of_a_container_is_of_some_operation() {
    use ContainerEffect as C;
    let building = [C::PrepareRootfs, C::Check, C::Start, C::Freeze, C::Thaw];
    let ending = [C::AskToEnd, C::Kill, C::DropTask, C::DropRootfs, C::Forget];
    for effect in building.into_iter().chain(ending) {
        assert!(of_the_engine().contains(&Effect::Container(effect)), "{effect:?}");
    }
}
