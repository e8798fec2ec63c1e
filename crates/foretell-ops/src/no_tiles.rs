//! What stands for [`tiles`](self) on machines of another kind: nothing is available, so nobody calls the rest.

use crate::kernel::Start;

#[derive(Clone, Copy)]
pub(crate) struct Line;

#[derive(Clone, Copy)]
pub(crate) enum Side {
    Left,
    Right,
}

#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub values: &'a [f32],
    pub outer: usize,
    pub inner: usize,
    pub outer_stride: usize,
    pub inner_stride: usize,
}

pub(crate) fn available() -> bool {
    false
}

pub(crate) fn are_lent() -> bool {
    false
}

impl Operand<'_> {
    pub(crate) fn block_lines(self) -> usize {
        unreachable!("guarded by `available`")
    }

    pub(crate) fn lines(self) -> usize {
        unreachable!("guarded by `available`")
    }

    pub(crate) fn packed(self, _: Side, _: &mut Vec<Line>) -> &[Line] {
        unreachable!("guarded by `available`")
    }

    pub(crate) fn pack(self, _: Side, _: usize, _: &mut [Line]) {
        unreachable!("guarded by `available`")
    }
}

pub(crate) fn lines(_: usize) -> Vec<Line> {
    unreachable!("guarded by `available`")
}

pub(crate) fn product(_: &mut [f32], _: usize, _: Start<'_>, _: Operand<'_>, _: &[Line], _: usize) {
    unreachable!("guarded by `available`")
}

pub(crate) fn product_of_few(_: &mut [f32], _: usize, _: Start<'_>, _: Operand<'_>, _: Operand<'_>) {
    unreachable!("guarded by `available`")
}
