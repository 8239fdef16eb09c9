//! From a task's number to its result: the market's description of a task on one side, the sandbox on the other.

use bmm_market::job::{Task, Tasks};
use bmm_types::{
    ContentHash,
    market::{
        Content, FailureKind, InputFile, JobSpec, MAX_INLINE_BYTES, MAX_STDERR_BYTES, Runtime, TaskEnd, TaskFailure,
        TaskLimits, TaskOutput, TaskResult,
    },
};
use bmm_vm::{
    COMMAND_ENTRY, Exit, InputSet, LimitKind, Limits, Outcome, Program, StopFlag, TaskInput, Vm,
    container::{Image, Share},
};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// Gives the bytes of a content name, if they are here.
pub type Contents = Arc<dyn Fn(ContentHash) -> Option<Arc<[u8]>> + Send + Sync>;

/// A program that is ready to run.
enum Runnable {
    Module(Arc<Program>),
    Container(Arc<Image>, Share),
}

impl Runnable {
    fn prepare(vm: &Vm, spec: &JobSpec, app: &[u8]) -> Result<Self, String> {
        match spec.runtime {
            Runtime::Wasm => {
                let entry = if spec.entry.is_empty() { COMMAND_ENTRY } else { spec.entry.as_str() };
                let program = vm.prepare_entry(app, spec.canonical_nans, entry);
                Ok(Self::Module(program.map_err(|error| error.to_string())?))
            }
            Runtime::Container => {
                let containers = vm.containers().ok_or("containers are not allowed here")?;
                let share = containers.share(spec.needs.cores, spec.needs.gpu_bytes.is_some(), spec.needs.workers);
                let share = share.map_err(|error| error.to_string())?;
                Ok(Self::Container(containers.prepare(app).map_err(|error| error.to_string())?, share))
            }
            Runtime::Miner => Err("hash jobs are not run as tasks".to_owned()),
        }
    }

    fn run(&self, input: &TaskInput<'_>, stop: &StopFlag) -> Result<Outcome, String> {
        match self {
            Self::Module(program) => program.run(input, stop).map_err(|error| error.to_string()),
            Self::Container(image, share) => image.run(input, share, stop).map_err(|error| error.to_string()),
        }
    }
}

/// A job whose program is compiled and whose inputs are at hand.
pub struct PreparedJob {
    tasks: Tasks,
    program: Runnable,
    inputs: InputSet,
    env: Vec<(String, String)>,
    limits: Limits,
    contents: Contents,
}

/// A task's result, and its bytes where they are too large to travel inside.
pub struct Ran {
    /// The result as it is sent.
    pub result: TaskResult,
    /// The bytes that [`TaskOutput::Stored`] names.
    pub stored: Option<(Content, Vec<u8>)>,
    /// Time that the program ran.
    pub wall: Duration,
}

impl PreparedJob {
    /// Compiles the program and lays out the inputs; says in words why it cannot.
    pub fn new(vm: &Vm, spec: &JobSpec, contents: Contents) -> Result<Self, String> {
        let get = |hash| contents(hash).ok_or_else(|| format!("the content {hash} is not here"));
        let program = Runnable::prepare(vm, spec, &get(spec.app.hash)?)?;
        let tasks = Tasks::new(spec, |hash| contents(hash)).map_err(|error| error.to_string())?;
        let mut inputs = InputSet::builder();
        for file in &spec.inputs {
            inputs.add(&file.path, get(file.content.hash)?).map_err(|error| error.to_string())?;
        }
        let (inputs, env) = (inputs.build(), spec.env.clone());
        Ok(Self { tasks, program, inputs, env, limits: limits(&spec.limits), contents })
    }

    /// Returns the expansion into tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Runs the task number `index` on this thread.
    pub fn run(&self, index: u64, stop: &StopFlag) -> Ran {
        let run = AssertUnwindSafe(|| self.try_run(index, stop));
        match std::panic::catch_unwind(run)
            .unwrap_or_else(|_| Err("the host's code failed; this is a defect of bmm".into()))
        {
            Ok(ran) => ran,
            Err(message) => Ran { result: failed(index, host_failure(message)), stored: None, wall: Duration::ZERO },
        }
    }

    fn try_run(&self, index: u64, stop: &StopFlag) -> Result<Ran, String> {
        let task = self.tasks.task(index).ok_or_else(|| format!("the job has no task {index}"))?;
        let inputs = self.inputs_of(&task)?;
        let input = TaskInput {
            args: &task.args,
            env: &self.env,
            stdin: &task.stdin,
            inputs: &inputs,
            seed: task.seed,
            limits: self.limits,
        };
        let outcome = self.program.run(&input, stop)?;
        Ok(ran(index, &task, outcome))
    }

    /// Lets a verifier say whether `result` is a right result of the task number `index`: it sees what the task sees, and the result as
    /// `/in/result`; exit code 0 means yes, 1 means no, and everything else that it cannot tell.
    pub fn judge(&self, verifier: &Program, index: u64, result: Vec<u8>, stop: &StopFlag) -> Result<bool, String> {
        let task = self.tasks.task(index).ok_or_else(|| format!("the job has no task {index}"))?;
        let mut inputs = self.inputs_of(&task)?.extend();
        inputs.add("result", result).map_err(|error| error.to_string())?;
        let inputs = inputs.build();
        let (stdin, seed, limits) = (&task.stdin, task.seed, self.limits);
        let input = TaskInput { args: &task.args, env: &[], stdin, inputs: &inputs, seed, limits };
        let outcome = verifier.run(&input, stop).map_err(|error| error.to_string())?;
        match outcome.exit {
            Exit::Ok => Ok(true),
            Exit::Code(1) => Ok(false),
            exit => Err(cut(format!("it ended otherwise: {exit} ({})", exit.name()))),
        }
    }

    /// Returns the job's inputs, and with them the files of this task alone.
    fn inputs_of(&self, task: &Task<'_>) -> Result<InputSet, String> {
        if task.mounts.is_empty() {
            return Ok(self.inputs.clone());
        }
        let mut inputs = self.inputs.extend();
        for InputFile { path, content } in &task.mounts {
            let bytes =
                (self.contents)(content.hash).ok_or_else(|| format!("the content {} is not here", content.hash))?;
            inputs.add(path, bytes).map_err(|error| error.to_string())?;
        }
        Ok(inputs.build())
    }
}

/// Translates the job's limits for the sandbox.
pub fn limits(limits: &TaskLimits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        time: Duration::from_millis(limits.time_millis),
        output_bytes: limits.output_bytes,
        fuel: limits.fuel,
        files: limits.files,
    }
}

/// Makes a result of what the sandbox says.
fn ran(index: u64, task: &Task<'_>, mut outcome: Outcome) -> Ran {
    let (fuel, peak_memory_bytes, wall) = (outcome.fuel, outcome.peak_memory_bytes, outcome.wall);
    let output = match (&task.collect, outcome.exit) {
        (None, Exit::Ok) => Ok(std::mem::take(&mut outcome.stdout)),
        (Some(path), Exit::Ok) => outcome.outputs.remove(path).ok_or_else(|| missing_output(path, &outcome)),
        (_, exit) => Err(program_failure(exit, &outcome.stderr)),
    };
    let (end, stored) = match output {
        Err(failure) => (TaskEnd::Failed(Box::new(failure)), None),
        Ok(bytes) if bytes.len() <= MAX_INLINE_BYTES => (TaskEnd::Done(TaskOutput::Inline(bytes)), None),
        Ok(bytes) => {
            let content = Content::of(&bytes);
            (TaskEnd::Done(TaskOutput::Stored { hash: content.hash, size: content.size }), Some((content, bytes)))
        }
    };
    Ran { result: TaskResult { index, fuel, peak_memory_bytes, end }, stored, wall }
}

fn failed(index: u64, failure: TaskFailure) -> TaskResult {
    TaskResult { index, fuel: 0, peak_memory_bytes: 0, end: TaskEnd::Failed(Box::new(failure)) }
}

fn host_failure(message: String) -> TaskFailure {
    TaskFailure { kind: FailureKind::Host, reason: "host".into(), message: cut(message), stderr: Vec::new() }
}

fn missing_output(path: &str, outcome: &Outcome) -> TaskFailure {
    let written: Vec<&str> = outcome.outputs.keys().take(5).map(String::as_str).collect();
    let written = if written.is_empty() { "nothing".to_owned() } else { written.join(", ") };
    TaskFailure {
        kind: FailureKind::Program,
        reason: "missing_output".into(),
        message: cut(format!("the program succeeded, but wrote no /out/{path} (it wrote: {written})")),
        stderr: tail(&outcome.stderr),
    }
}

fn program_failure(exit: Exit, stderr: &[u8]) -> TaskFailure {
    let kind = match exit {
        Exit::Cancelled => FailureKind::Stopped,
        Exit::Limit(LimitKind::Time) => FailureKind::Time,
        _ => FailureKind::Program,
    };
    let reason = match exit {
        Exit::Code(code) => format!("exit_code:{code}"),
        exit => exit.name().to_owned(),
    };
    TaskFailure { kind, reason, message: cut(exit.to_string()), stderr: tail(stderr) }
}

fn tail(stderr: &[u8]) -> Vec<u8> {
    stderr[stderr.len().saturating_sub(MAX_STDERR_BYTES)..].to_vec()
}

/// Keeps a message within what a market message carries.
fn cut(mut message: String) -> String {
    if message.len() > 1_000 {
        let mut end = 1_000;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    message
}
