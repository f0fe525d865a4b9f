//! The pipelines of a device, each made when it is first asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shaders;

/// One entry point of a file of shaders, with the constants it is compiled for: the key of its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kernel {
    pub file: &'static str,
    pub entry: &'static str,
    constants: [Option<(&'static str, u32)>; 2],
}

impl Kernel {
    pub(super) const fn new(file: &'static str, entry: &'static str) -> Self {
        Self { file, entry, constants: [None; 2] }
    }

    /// The same for products in tiles of `side` rows and columns, with or without a gate.
    pub(super) fn with_tiles(self, side: u32, gated: Option<bool>) -> Self {
        Self { constants: [Some(("side", side)), gated.map(|gated| ("gated", u32::from(gated)))], ..self }
    }

    /// The same for so many vectors of channels to each position.
    pub(super) fn with_slots(self, slots: u32, gated: bool) -> Self {
        Self { constants: [Some(("slots", slots)), Some(("gated", u32::from(gated)))], ..self }
    }
}

/// How many buffers a kernel reads and writes: the key of its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Bindings {
    reads: usize,
    writes: usize,
}

pub(super) struct Layout {
    pub group: wgpu::BindGroupLayout,
    /// Of the parameters, where they are no immediates.
    pub uniform: Option<wgpu::BindGroupLayout>,
    pipeline: wgpu::PipelineLayout,
}

/// Bytes of parameters at most.
pub(super) const PARAMETERS: u32 = 128;

/// Pipelines, and what they are made of.
pub(super) struct Pipelines {
    device: wgpu::Device,
    /// Whether parameters go as immediates.
    immediates: bool,
    /// A shader's file, a text in it and what stands there instead.
    edit: Option<(&'static str, &'static str, &'static str)>,
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
    layouts: Mutex<HashMap<Bindings, Arc<Layout>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipelines {
    pub(super) fn new(
        device: &wgpu::Device,
        immediates: bool,
        edit: Option<(&'static str, &'static str, &'static str)>,
    ) -> Self {
        let (modules, pipelines, layouts) = Default::default();
        Self { device: device.clone(), immediates, edit, modules, pipelines, layouts }
    }

    /// Compiles what nearly every network runs, so that the first pass need not wait for one kernel after the other.
    pub(super) fn warm_up(&self) {
        let plain = [
            (Kernel::new("activation", "activate"), 1, 1),
            (Kernel::new("arithmetic", "arithmetic"), 2, 1),
            (Kernel::new("pooling", "max_pool"), 1, 2),
            (Kernel::new("pooling", "max_pool_scatter"), 2, 1),
            (Kernel::new("reduction", "sum_long"), 1, 1),
            (Kernel::new("select", "select"), 2, 1),
        ];
        let products = [128, 64, 32].into_iter().flat_map(|side| {
            let gated = [false, true].map(Some).into_iter();
            let gated = gated.flat_map(move |gated| {
                let matmul = Kernel::new("matmul", "matmul").with_tiles(side, gated);
                let convolution = Kernel::new("convolution", "convolution").with_tiles(side, gated);
                [(matmul, 4, 1), (convolution, 5, 1)]
            });
            gated.chain([(Kernel::new("multiply", "multiply").with_tiles(side, None), 2, 1)])
        });
        for (kernel, reads, writes) in plain.into_iter().chain(products) {
            let layout = self.layout(reads, writes);
            self.pipeline(kernel, &layout);
        }
    }

    /// The layout of kernels that read and write so many buffers.
    pub(super) fn layout(&self, reads: usize, writes: usize) -> Arc<Layout> {
        let bindings = Bindings { reads, writes };
        let mut layouts = lock(&self.layouts);
        Arc::clone(layouts.entry(bindings).or_insert_with(|| Arc::new(self.make_layout(bindings))))
    }

    fn make_layout(&self, Bindings { reads, writes }: Bindings) -> Layout {
        let entry = |binding: usize, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = |i| entry(i, wgpu::BufferBindingType::Storage { read_only: i < reads });
        let make = |entries: &[wgpu::BindGroupLayoutEntry]| {
            let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries };
            self.device.create_bind_group_layout(&descriptor)
        };
        let group = make(&(0..reads + writes).map(storage).collect::<Vec<_>>());
        let uniform = (!self.immediates).then(|| make(&[entry(0, wgpu::BufferBindingType::Uniform)]));
        let groups = [Some(&group), uniform.as_ref()];
        let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: if uniform.is_some() { &groups } else { &groups[..1] },
            immediate_size: if self.immediates { PARAMETERS } else { 0 },
        });
        Layout { group, uniform, pipeline }
    }

    pub(super) fn pipeline(&self, kernel: Kernel, layout: &Layout) -> wgpu::ComputePipeline {
        if let Some(pipeline) = lock(&self.pipelines).get(&kernel) {
            return pipeline.clone();
        }
        let module = self.module(kernel.file);
        let constants: Vec<(&str, f64)> =
            kernel.constants.iter().flatten().map(|&(name, value)| (name, f64::from(value))).collect();
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.entry),
            layout: Some(&layout.pipeline),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels write what they read there.
                zero_initialize_workgroup_memory: false,
                constants: &constants,
            },
            cache: None,
        });
        lock(&self.pipelines).entry(kernel).or_insert(pipeline).clone()
    }

    fn module(&self, file: &'static str) -> wgpu::ShaderModule {
        if let Some(module) = lock(&self.modules).get(file) {
            return module.clone();
        }
        let mut source = shaders::source(file, self.immediates);
        if let Some((_, right, wrong)) = self.edit.filter(|(edited, ..)| *edited == file) {
            source = source.replace(right, wrong);
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(file),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module = if cfg!(debug_assertions) {
            self.device.create_shader_module(descriptor)
        } else {
            // SAFETY: the sources are our own; the suite runs every kernel at sizes that are no multiple of anything
            // against references, and with the checks in debug builds. No loop lacks a bound.
            #[allow(unsafe_code, reason = "bounds checks cost time in every inner loop")]
            unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            }
        };
        lock(&self.modules).entry(file).or_insert(module).clone()
    }
}
