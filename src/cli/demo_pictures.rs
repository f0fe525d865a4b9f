//! The pictures of `fenchel demo`: two of each network.

use std::path::Path;

use crate::data::{Dataset, OutputFile};
use crate::engine::{Context, SplineEngine};
use crate::network::{Kind, Network, Program};
use crate::regions::Partition;
use crate::render::sheet::{ImageShape, Linear, Look, templates};
use crate::render::{
    ColourMap, Field, Frame, NetworkField, PartitionField, Picture, Quantity, Scale, SplineField, Targets,
    extremes, widened,
};
use crate::spline::slice::Slice;
use crate::spline::{NetworkJets, Spline};
use crate::{Error, Result};

/// A 0, a 1 and a 2 of the test digits: the plane goes through them.
const ROWS: [usize; 3] = [1411, 1406, 1400];

const SIZE: [usize; 2] = [512, 512];

/// How much smaller the plane of regions is.
const CLOSE_UP: f64 = 0.03;

/// What pictures are made of.
pub(super) struct Pictures<'a> {
    /// The network.
    pub network: &'a Network,
    /// The digits, as it sees them.
    pub data: &'a Dataset,
    /// Where they go.
    pub folder: &'a Path,
    /// The command line.
    pub comment: &'a str,
    pub context: &'a Context,
}

impl Pictures<'_> {
    /// Of a piecewise affine network its classes and its regions on a plane; of another one the error of a spline there,
    /// and the templates of the three digits.
    ///
    /// # Errors
    /// What drawing and writing say.
    pub(super) fn make<E: SplineEngine>(
        &self,
        program: &Program<E>,
        source: &NetworkJets<'_, E>,
    ) -> Result<Vec<String>> {
        std::fs::create_dir_all(self.folder).map_err(Error::io("create folder", self.folder))?;
        let rows = self.data.gather::<f64>(&ROWS)?;
        let [first, second, third] = [0, 1, 2].map(|i| rows.row(i).to_vec());
        let slice = Slice::through([&first, &second, &third])?;
        let engine = program.engine();
        let outputs: Vec<usize> = (0..program.outputs()).collect();
        if self.network.kind() == Kind::PiecewiseAffine {
            let classes = NetworkField::new(engine, self.network, &slice, Quantity::Class, &outputs)?;
            // All of the plane has some hundred thousand regions.
            let close = |x: &Vec<f64>| x.iter().map(|x| CLOSE_UP * x).collect::<Vec<_>>();
            let on_plane = self.network.on_slice(&third, &[&close(&slice.u), &close(&slice.v)])?;
            let partition = Partition::new(&on_plane, self.context)?;
            let regions = PartitionField::regions(&partition);
            let title = format!("{} regions around the 2", partition.len());
            return Ok(vec![
                self.picture::<E>("classes", "classes through a 0, a 1 and a 2", &classes, None)?,
                self.picture::<E>("regions", &title, &regions, None)?,
            ]);
        }
        // The digit of the third row.
        let (output, spline) = (2, Spline::isotropic(3.0, outputs.len())?);
        let error = (self.network, output);
        let error = SplineField::error(&spline, source, &slice, output, error, self.context)?;
        let classes = NetworkField::new(engine, self.network, &slice, Quantity::Class, &outputs)?;
        let image = ImageShape::of(&[8, 8]);
        let sheet = templates(program, self.data, &ROWS, &outputs, image, Linear::Templates, self.context)?;
        let name = "templates.png".to_owned();
        let png = OutputFile::create(&self.folder.join(&name))?;
        sheet.draw(&Look::default(), png, self.comment, self.context)?;
        let title = "error of the spline of output 2, and boundaries of classes";
        Ok(vec![self.picture("error", title, &error, Some(&classes))?, name])
    }

    /// A picture with axes and a legend; numbers around 0.
    fn picture<E: SplineEngine>(
        &self,
        name: &str,
        title: &str,
        field: &dyn Field<E>,
        lines: Option<&dyn Field<E>>,
    ) -> Result<String> {
        let range = extremes(field, SIZE, self.context)?;
        let scale =
            range.map(|[low, high]| Scale::new(ColourMap::Diverging, widened(low..high))).transpose()?;
        let frame = Frame::of(field, SIZE, title, ["s", "t"], scale.as_ref(), self.context)?;
        let name = format!("{name}.png");
        let antialias = if scale.is_none() { 4 } else { 1 };
        let picture =
            Picture { antialias, scale: scale.as_ref(), lines, comment: self.comment, ..Picture::new(SIZE) };
        let png = Some(OutputFile::create(&self.folder.join(&name))?);
        picture.draw_into(field, Targets { png, frame: Some(&frame), ..Targets::default() }, self.context)?;
        Ok(name)
    }
}
