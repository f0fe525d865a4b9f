//! An open adapter: what is asked of it, and the stream of commands to it.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytemuck::Pod;

use crate::engine::device::{self, Adapter};
use crate::{Error, Result};

use super::faults::{Faults, Running};
use super::pipelines::{Kernel, Layout, PARAMETERS, Pipelines, lock};
use super::pool::{Pool, Pooled};

/// A buffer from one of its elements on, a multiple of [`ALIGNMENT`].
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub buffer: &'a Pooled,
    pub start: usize,
}

/// Elements that the start of a part is a multiple of, on any device.
pub(super) const ALIGNMENT: usize = 64;

/// Dispatches after which recorded commands go to the device, so that it works while more are recorded.
const BATCH: usize = 48;

/// How long a finished read-back may take to be heard of.
const HEARD_OF: Duration = Duration::from_secs(10);

/// Bytes of scratch at most: products of so many pairs keep any device busy.
const SCRATCH: u64 = 256 << 20;

/// Bytes of a tensor at most on any device: kernels count elements, and small multiples of them, in 32 bits.
const LARGEST: u64 = 1 << 31;

/// A device made worse than it is, to see that plans keep to limits and that tests notice a broken kernel.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Bytes of a tensor at most.
    pub tensor: Option<u64>,
    /// Workgroups in one dimension of a dispatch at most.
    pub workgroups: Option<u32>,
    /// Whether parameters may go as immediates.
    pub immediates: bool,
    /// A shader's file, a text in it and what stands there instead.
    pub edit: Option<(&'static str, &'static str, &'static str)>,
}

impl Default for Trial {
    /// The device as it is.
    fn default() -> Self {
        Self { tensor: None, workgroups: None, immediates: true, edit: None }
    }
}

/// What plans and dispatches keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a tensor at most: of a buffer and of a binding.
    pub tensor: u64,
    /// Workgroups in one dimension of a dispatch.
    pub workgroups: u32,
    /// Whether parameters go as immediates.
    immediates: bool,
}

/// An open adapter.
pub(super) struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub adapter: Adapter,
    pub limits: Limits,
    largest_binding: u64,
    /// Bytes that kernels may take beside their arguments and results.
    pub scratch: u64,
    /// Bound where a kernel reads nothing.
    pub nothing: Pooled,
    faults: Faults,
    pub pipelines: Pipelines,
    tensors: Arc<Pool>,
    staging: Arc<Pool>,
    uniforms: Arc<Pool>,
    /// How often recorded commands were handed over.
    handed_over: Arc<AtomicU64>,
    recorder: Mutex<Recorder>,
}

/// A tensor on its way back.
#[derive(Debug)]
pub struct GpuRequest {
    staging: Pooled,
    bytes: u64,
    submission: Option<wgpu::SubmissionIndex>,
    mapped: Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// Commands that were not handed over yet.
#[derive(Default)]
struct Recorder {
    /// Before the encoder that it belongs to, so that it ends first.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    dispatches: usize,
    /// Parameters of recorded dispatches, where they are uniforms: not to be written again before these run.
    uniforms: Vec<Pooled>,
}

impl Recorder {
    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder
            .get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        if self.pass.is_none() {
            let pass = self.encoder(device).begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.pass = Some(pass.forget_lifetime());
        }
        self.pass.get_or_insert_with(|| unreachable!("it was begun"))
    }
}

impl Device {
    /// Opens the adapter with this number. An eighth of `memory` bytes is scratch, an eighth may stay with the engine.
    ///
    /// # Errors
    /// [`Error::Device`] where there is no such adapter, or it lacks what kernels need, or its driver refuses.
    pub(super) fn open(number: usize, memory: u64, trial: Trial) -> Result<Self> {
        let (adapter, described) = device::adapter(number)?;
        let refused = |why: &dyn std::fmt::Display| Error::Device(format!("{} {why}", described.name));
        let own = adapter.limits();
        let offered = adapter.features();
        let immediates = offered.contains(wgpu::Features::IMMEDIATES) && own.max_immediate_size >= PARAMETERS;
        let needed = wgpu::Limits::default();
        if own.max_compute_invocations_per_workgroup < needed.max_compute_invocations_per_workgroup
            || own.max_compute_workgroup_storage_size < needed.max_compute_workgroup_storage_size
            || own.max_storage_buffers_per_shader_stage < needed.max_storage_buffers_per_shader_stage
        {
            return Err(refused(
                &"has too few invocations, too little workgroup memory or too few storage buffers",
            ));
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("fenchel"),
            required_features: if immediates { wgpu::Features::IMMEDIATES } else { wgpu::Features::empty() },
            required_limits: own.clone(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| refused(&format!("cannot be opened: {e}")))?;
        let faults = Faults::default();
        faults.listen(&device);
        // Whole vectors of four.
        let tensor = own.max_buffer_size.min(own.max_storage_buffer_binding_size).min(LARGEST) / 16 * 16;
        let limits = Limits {
            tensor: trial.tensor.unwrap_or(tensor).min(tensor),
            workgroups: trial.workgroups.unwrap_or(u32::MAX).min(own.max_compute_workgroups_per_dimension),
            immediates: immediates && trial.immediates,
        };
        let kept = memory / 8;
        let pipelines = Pipelines::new(&device, limits.immediates, trial.edit);
        let handed_over = Arc::new(AtomicU64::new(0));
        let pool =
            |usage, kept| Pool::new(&device, &faults, usage, [kept, own.max_buffer_size], &handed_over);
        use wgpu::BufferUsages as Usage;
        let tensors = pool(Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST, kept);
        let staging = pool(Usage::MAP_READ | Usage::COPY_DST, kept / 4);
        let uniforms = pool(Usage::UNIFORM | Usage::COPY_DST, 1 << 20);
        Ok(Self {
            device,
            queue,
            adapter: described,
            limits,
            scratch: (memory / 8).min(SCRATCH),
            largest_binding: own.max_storage_buffer_binding_size / 16 * 16,
            nothing: tensors.take(16),
            faults,
            pipelines,
            tensors,
            staging,
            uniforms,
            handed_over,
            recorder: Mutex::default(),
        })
    }

    /// Memory for a tensor of so many elements of four bytes.
    ///
    /// # Errors
    /// [`Error::Device`] where one binding cannot hold it, and with what went wrong before.
    pub(super) fn allocate(&self, elements: usize) -> Result<Pooled> {
        let bytes = 4 * elements as u64;
        if bytes > self.limits.tensor {
            return Err(Error::Device(format!(
                "a tensor of {} MiB is more than {} binds at once ({} MiB); a lower --memory makes smaller pieces",
                bytes.div_ceil(1 << 20),
                self.adapter.name,
                self.limits.tensor >> 20
            )));
        }
        self.faults.running(Running::Allocation { bytes });
        let buffer = self.tensors.take(bytes);
        self.faults.check()?;
        Ok(buffer)
    }

    /// Copies host memory to the device.
    pub(super) fn upload(&self, bytes: &[u8]) -> Result<Pooled> {
        let buffer = self.allocate(bytes.len() / 4)?;
        // Writes of the queue overtake what is recorded and may still read this memory.
        if buffer.is_read(self.handed_over.load(Ordering::Relaxed)) {
            self.submit();
        }
        if !bytes.is_empty() {
            self.queue.write_buffer(buffer.buffer(), 0, bytes);
        }
        Ok(buffer)
    }

    /// Begins to copy the first elements of a buffer back, in the same submission as what is recorded.
    ///
    /// # Errors
    /// [`Error::Device`] with what went wrong up to now.
    pub(super) fn request(&self, buffer: &Pooled, elements: usize) -> Result<GpuRequest> {
        let bytes = 4 * elements as u64;
        let staging = self.staging.take_apart(bytes.max(4));
        self.faults.check()?;
        let mut recorder = lock(&self.recorder);
        if bytes > 0 {
            let encoder = recorder.encoder(&self.device);
            encoder.copy_buffer_to_buffer(buffer.buffer(), 0, staging.buffer(), 0, bytes);
        }
        let submission = self.hand_over(&mut recorder);
        let (sender, mapped) = sync_channel(1);
        staging.buffer().map_async(wgpu::MapMode::Read, ..bytes.max(4), move |result| {
            // Nobody waits any more where the wait itself failed.
            let _ = sender.send(result);
        });
        Ok(GpuRequest { staging, bytes, submission, mapped })
    }

    /// Waits for what was requested, and not for what was recorded after it.
    ///
    /// # Errors
    /// [`Error::Device`] with what went wrong up to now.
    pub(super) fn receive<T: Pod>(&self, request: GpuRequest) -> Result<Vec<T>> {
        let GpuRequest { staging, bytes, submission, mapped } = request;
        self.wait_for(wgpu::PollType::Wait { submission_index: submission, timeout: None })?;
        // Where several threads wait, another one may be the one that hears of it, a little later.
        let mapped = mapped.recv_timeout(HEARD_OF).is_ok_and(|result| result.is_ok());
        let view = if mapped { staging.buffer().get_mapped_range(..bytes.max(4)).ok() } else { None };
        let Some(view) = view else {
            self.faults.put("gave no memory back".to_owned());
            self.faults.check()?;
            return Ok(vec![]);
        };
        let values = bytemuck::pod_collect_to_vec(&view[..bytes as usize]);
        drop(view);
        staging.buffer().unmap();
        self.staging.adopt(staging);
        Ok(values)
    }

    /// Runs so many workgroups of a kernel. The first member of its parameters, the number of the first workgroup,
    /// is set here.
    pub(super) fn run<P: Pod>(
        &self,
        kernel: Kernel,
        reads: &[&Pooled],
        writes: &[&Pooled],
        parameters: &P,
        workgroups: usize,
    ) -> Result<()> {
        let reads: Vec<Part<'_>> = reads.iter().map(|&buffer| Part { buffer, start: 0 }).collect();
        self.run_on_parts(kernel, &reads, writes, parameters, workgroups)
    }

    /// The same on parts of what is read.
    pub(super) fn run_on_parts<P: Pod>(
        &self,
        kernel: Kernel,
        reads: &[Part<'_>],
        writes: &[&Pooled],
        parameters: &P,
        workgroups: usize,
    ) -> Result<()> {
        if workgroups == 0 {
            return Ok(());
        }
        self.faults.running(Running::Kernel(kernel));
        let layout = self.pipelines.layout(reads.len(), writes.len());
        let pipeline = self.pipelines.pipeline(kernel, &layout);
        let writes = writes.iter().map(|&buffer| Part { buffer, start: 0 });
        let entries: Vec<wgpu::BindGroupEntry<'_>> = reads
            .iter()
            .copied()
            .chain(writes)
            .enumerate()
            .map(|(i, part)| wgpu::BindGroupEntry { binding: i as u32, resource: self.binding(part) })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout.group,
            entries: &entries,
        });
        let mut bytes = bytemuck::bytes_of(parameters).to_vec();
        let most = self.limits.workgroups as usize;
        let mut recorder = lock(&self.recorder);
        for first in (0..workgroups).step_by(most * most) {
            let count = (workgroups - first).min(most * most);
            bytes[..4].copy_from_slice(&(first as u32).to_ne_bytes());
            let uniform = (!self.limits.immediates).then(|| self.uniform(&bytes, &layout));
            let pass = recorder.pass(&self.device);
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            match &uniform {
                Some((_, group)) => pass.set_bind_group(1, group, &[]),
                None => pass.set_immediates(0, &bytes),
            }
            let rows = count.div_ceil(most);
            pass.dispatch_workgroups(count.div_ceil(rows) as u32, rows as u32, 1);
            recorder.uniforms.extend(uniform.map(|(buffer, _)| buffer));
            recorder.dispatches += 1;
        }
        if recorder.dispatches >= BATCH {
            self.hand_over(&mut recorder);
        }
        drop(recorder);
        self.faults.check()
    }

    /// A buffer as far as one binding reaches: its size class may be larger than the tensor.
    fn binding<'a>(&self, Part { buffer, start }: Part<'a>) -> wgpu::BindingResource<'a> {
        let (buffer, offset) = (buffer.buffer(), 4 * start as u64);
        let size = NonZero::new((buffer.size() - offset).min(self.largest_binding));
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
    }

    /// Parameters as a uniform.
    fn uniform(&self, bytes: &[u8], layout: &Layout) -> (Pooled, wgpu::BindGroup) {
        let buffer = self.uniforms.take(u64::from(PARAMETERS));
        self.queue.write_buffer(buffer.buffer(), 0, bytes);
        let group = layout.uniform.as_ref().map(|layout| {
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: buffer.buffer().as_entire_binding(),
                }],
            })
        });
        (buffer, group.unwrap_or_else(|| unreachable!("devices without immediates have uniforms")))
    }

    /// Hands recorded commands to the device.
    pub(super) fn submit(&self) {
        self.hand_over(&mut lock(&self.recorder));
    }

    fn hand_over(&self, recorder: &mut Recorder) -> Option<wgpu::SubmissionIndex> {
        recorder.pass = None;
        let submission = recorder.encoder.take().map(|encoder| self.queue.submit([encoder.finish()]));
        recorder.dispatches = 0;
        recorder.uniforms.clear();
        self.handed_over.fetch_add(1, Ordering::Relaxed);
        submission
    }

    /// Waits until everything is done.
    ///
    /// # Errors
    /// [`Error::Device`] with what went wrong up to now.
    pub(super) fn wait(&self) -> Result<()> {
        self.submit();
        self.wait_for(wgpu::PollType::wait_indefinitely())
    }

    fn wait_for(&self, what: wgpu::PollType) -> Result<()> {
        if let Err(error) = self.device.poll(what) {
            self.faults.put(format!("did not finish: {error}"));
        }
        self.faults.check()
    }

    /// Ends the device, as a driver that resets it does.
    #[cfg(test)]
    pub(super) fn destroy(&self) {
        self.device.destroy();
    }
}
