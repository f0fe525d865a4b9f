//! Which devices there are, and which one a job takes.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best device this version computes on.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A graphics adapter: the best, or one by its number in `fenchel devices`.
    Gpu(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            _ => match text.strip_prefix("gpu:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Gpu(Some(number))),
                _ => Err("expected cpu, gpu, gpu:N or auto".to_owned()),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

impl DeviceChoice {
    /// The number of the adapter to compute on, `None` for the CPU. `auto` takes a real GPU where there is one, and
    /// never a software adapter; `gpu` takes the best adapter there is, a software one where there is no other.
    ///
    /// # Errors
    /// [`Error::Device`] where a graphics adapter was asked for and is not there: nothing falls back silently.
    pub fn resolve(self, adapters: &[Adapter]) -> Result<Option<usize>> {
        let best = |software: bool| {
            adapters
                .iter()
                .filter(|a| software || !a.software)
                .min_by_key(|a| (a.rank(), a.number))
                .map(|a| a.number)
        };
        match self {
            Self::Cpu => Ok(None),
            Self::Auto => Ok(best(false)),
            Self::Gpu(None) => best(true).map(Some).ok_or_else(|| {
                Error::Device(
                    "--device gpu: no graphics adapter was found; use --device cpu or auto".to_owned(),
                )
            }),
            Self::Gpu(Some(number)) if number < adapters.len() => Ok(Some(number)),
            Self::Gpu(Some(_)) => Err(Error::Device(format!(
                "--device {self}: there are {} graphics adapters; `fenchel devices` lists them",
                adapters.len()
            ))),
        }
    }
}

impl Adapter {
    /// The smaller, the better.
    fn rank(&self) -> usize {
        let kinds = ["discrete", "integrated", "virtual", "other", "software"];
        kinds.iter().position(|kind| *kind == self.kind).unwrap_or(kinds.len())
    }
}

/// A graphics adapter, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Adapter {
    /// Its number, as in `gpu:N`.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Vulkan, Metal or DirectX 12.
    pub backend: String,
    /// Discrete, integrated, virtual, software or other.
    pub kind: String,
    /// Whether it is a program on the processor (such as llvmpipe), which `auto` never takes.
    pub software: bool,
    /// The driver's name and version.
    pub driver: String,
    /// The largest storage-buffer binding in bytes.
    pub largest_binding: u64,
    /// The largest buffer in bytes.
    pub largest_buffer: u64,
    /// Workgroups in one dimension of a dispatch.
    pub workgroups: u32,
    /// Bytes of memory that a workgroup shares.
    pub workgroup_memory: u32,
    /// Those of subgroups, f16, timestamps and immediates that it offers.
    pub features: Vec<String>,
}

/// Every graphics adapter that a driver offers, in the drivers' order.
pub fn adapters() -> Vec<Adapter> {
    enumerate().iter().enumerate().map(|(number, adapter)| describe(number, adapter)).collect()
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY))
}

/// The adapter with this number, and what it says of itself.
///
/// # Errors
/// [`Error::Device`] where there is none.
pub(super) fn adapter(number: usize) -> Result<(wgpu::Adapter, Adapter)> {
    let found = enumerate().into_iter().nth(number);
    let missing = || Error::Device(format!("there is no graphics adapter {number}"));
    let adapter = found.ok_or_else(missing)?;
    let described = describe(number, &adapter);
    Ok((adapter, described))
}

fn describe(number: usize, adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let software = info.device_type == wgpu::DeviceType::Cpu;
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    let named = [
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
        (wgpu::Features::IMMEDIATES, "immediates"),
    ];
    Adapter {
        number,
        name: info.name,
        backend: info.backend.to_string(),
        kind: kind.to_owned(),
        software,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        largest_binding: limits.max_storage_buffer_binding_size,
        largest_buffer: limits.max_buffer_size,
        workgroups: limits.max_compute_workgroups_per_dimension,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        features: named
            .iter()
            .filter(|(f, _)| features.contains(*f))
            .map(|(_, name)| (*name).to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip() {
        for text in ["auto", "cpu", "gpu", "gpu:3"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a choice").to_string(), text);
        }
        for text in ["", "GPU", "gpu:", "gpu:-1", "cuda"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    fn adapter(number: usize, kind: &str) -> Adapter {
        Adapter {
            number,
            name: String::new(),
            backend: String::new(),
            kind: kind.to_owned(),
            software: kind == "software",
            driver: String::new(),
            largest_binding: 0,
            largest_buffer: 0,
            workgroups: 0,
            workgroup_memory: 0,
            features: vec![],
        }
    }

    #[test]
    fn choices_settle_on_the_best_adapter_and_never_fall_back_silently() {
        let software = [adapter(0, "software")];
        let all = [
            adapter(0, "software"),
            adapter(1, "integrated"),
            adapter(2, "discrete"),
            adapter(3, "discrete"),
        ];
        let settle = |choice: &str, adapters: &[Adapter]| {
            choice.parse::<DeviceChoice>().expect("a choice").resolve(adapters).map_err(|e| e.to_string())
        };
        assert_eq!(settle("auto", &software), Ok(None));
        assert_eq!(settle("auto", &all), Ok(Some(2)));
        assert_eq!(settle("cpu", &all), Ok(None));
        assert_eq!(settle("gpu", &software), Ok(Some(0)));
        assert_eq!(settle("gpu", &all), Ok(Some(2)));
        assert_eq!(settle("gpu:1", &all), Ok(Some(1)));
        assert!(settle("gpu", &[]).expect_err("none").contains("no graphics adapter"));
        assert!(settle("gpu:4", &all).expect_err("none").contains("gpu:4"));
    }
}
