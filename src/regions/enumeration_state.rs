//! Enumerations that go on another day: what was found and what is open, in a file.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::data::{NpzEntry, NpzWriter, OutputFile, read_array};
use crate::engine::Context;
use crate::network::{Bend, Map, Network, Stages};
use crate::tolerance::CLOSE;
use crate::{Error, Result};

use super::enumeration::{Crossing, Enumeration, Regions};
use super::split::{entries, table};
use super::walk::Source;

impl Enumeration {
    /// Writes all that is known to an `.npz` file, which appears whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (count, words, dimension) = (self.len(), self.words(), self.dimension());
        let entries = [
            NpzEntry::new::<f64>("limits", &[2]),
            NpzEntry::new::<u32>("network", &[2]),
            NpzEntry::new::<u64>("unresolved", &[1]),
            NpzEntry::new::<u32>("code", &[count, words]),
            NpzEntry::new::<f64>("centre", &[count, dimension]),
            NpzEntry::new::<f64>("inradius", &[count]),
            NpzEntry::new::<u32>("open", &[self.open(), 4]),
        ];
        let mut writer = NpzWriter::create(OutputFile::create(path)?, entries)?;
        writer.append("limits", &self.limits())?;
        writer.append("network", &fingerprint(self.stages()))?;
        writer.append("unresolved", &[self.unresolved])?;
        writer.append("code", &self.found.codes)?;
        writer.append("centre", &self.found.centres)?;
        writer.append("inradius", &self.found.radii)?;
        for Crossing { parent, source: Source { stage, unit, piece } } in &self.queue {
            writer.append("open", &[*parent, *stage, *unit, *piece])?;
        }
        writer.finish()
    }

    /// Goes on from such a file.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::File`] for a file that is another network's or another box's, or is no such file.
    pub fn resume(network: &Network, limits: [f64; 2], path: &Path, context: &Context) -> Result<Self> {
        let mut enumeration = Self::empty(network, limits, context)?;
        let read = |name: &str| Ok::<_, Error>(read_array(path, Some(name))?.into_raw_vec_and_offset().0);
        let same = read("limits")? == limits;
        let own = fingerprint(enumeration.stages()).map(f64::from);
        if !same || read("network")? != own {
            return Err(Error::file(path, "holds the regions of another network or box".to_owned()));
        }
        let radii = read("inradius")?;
        let odd = || Error::file(path, "holds arrays that do not belong together".to_owned());
        let whole = |name: &str| -> Result<Vec<u32>> {
            let is_whole = |v: &f64| v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(v);
            let numbers = read(name)?;
            numbers.iter().all(is_whole).then(|| numbers.iter().map(|&v| v as u32).collect()).ok_or_else(odd)
        };
        let codes = whole("code")?;
        let found = Regions { count: radii.len(), codes, centres: read("centre")?, radii };
        let open = whole("open")?;
        let (open, rest) = open.as_chunks::<4>();
        let bend = |stage: usize| &enumeration.stages().stages[stage].bend;
        let fits = found.count > 0
            && rest.is_empty()
            && found.codes.len() == found.count * enumeration.words()
            && found.centres.len() == found.count * enumeration.dimension()
            && found.centres.iter().all(|x| x.abs() <= 1.0 + CLOSE)
            && found.radii.iter().all(|&radius| radius > 0.0 && radius <= 1.0 + CLOSE)
            && found.codes.chunks_exact(enumeration.words().max(1)).all(|code| {
                let mut layers = enumeration.layers().iter().enumerate();
                layers.all(|(k, layer)| {
                    (0..layer.units).all(|unit| has_piece(bend(k), unit, layer.get(code, unit)))
                })
            })
            && open.iter().all(|&[parent, stage, unit, piece]| {
                let layer = enumeration.layers().get(stage as usize);
                (parent as usize) < found.count
                    && layer.is_some_and(|layer| (unit as usize) < layer.units)
                    && has_piece(bend(stage as usize), unit as usize, piece)
            });
        if !fits {
            return Err(odd());
        }
        let crossing = |[parent, stage, unit, piece]: [u32; 4]| Crossing {
            parent,
            source: Source { stage, unit, piece },
        };
        let unresolved = read("unresolved")?.first().map_or(0, |&n| n as u64);
        enumeration.restore(found, open.iter().copied().map(crossing).collect(), unresolved);
        Ok(enumeration)
    }
}

/// Whether a unit has a piece of this number.
fn has_piece(bend: &Bend, unit: usize, number: u32) -> bool {
    match bend {
        Bend::Elementwise(tables) => (number as usize) < table(tables, unit).slopes.len(),
        Bend::Largest(windows) => windows.codes[entries(windows, unit)].contains(&number),
    }
}

/// What tells networks apart.
fn fingerprint(stages: &Stages) -> [u32; 2] {
    let mut hash = Xxh3::new();
    for target in &stages.targets {
        hash.update(bytemuck::cast_slice(&target.direct));
    }
    for stage in &stages.stages {
        if let Bend::Elementwise(tables) = &stage.bend {
            for table in tables {
                [&table.knots, &table.slopes, &table.offsets]
                    .iter()
                    .for_each(|values| hash.update(bytemuck::cast_slice(values)));
            }
        }
        for (_, map) in &stage.links {
            match map {
                Map::Dense(weights) => hash.update(bytemuck::cast_slice(weights)),
                Map::Sparse { positions, weights, .. } => {
                    hash.update(bytemuck::cast_slice(positions));
                    hash.update(bytemuck::cast_slice(weights));
                }
            }
        }
    }
    let digest = hash.digest();
    [(digest >> 32) as u32, digest as u32]
}
