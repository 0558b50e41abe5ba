"""Products of matrices in the text of a compiled program: by hand, and beside the count of the program as written."""

import jax
import jax.numpy as jnp
import pytest

from experiments.measure.hlo import products, runs
from training.flops import count

TEXT = """HloModule jit_step

%fused (p0: bf16[7,11], p1: bf16[11,13]) -> f32[7,13] {
  %p0 = bf16[7,11]{1,0} parameter(0)
  %p1 = bf16[11,13]{1,0} parameter(1)
  ROOT %c = f32[7,13]{1,0:T(8,128)} convolution(%p0, %p1), dim_labels=bf_io->bf
}

%body (state: (s32[], f32[2,3,5])) -> (s32[], f32[2,3,5]) {
  %a = f32[2,3,17]{2,1,0} get-tuple-element(%state), index=1
  %b = f32[2,17,5]{2,1,0} get-tuple-element(%state), index=2
  %d = f32[2,3,5]{2,1,0} dot(%a, %b), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}
  ROOT %t = (s32[], f32[2,3,5]) tuple(%i, %d)
}

%nobody (x: f32[2]) -> f32[2] {
  %x = f32[2]{0} parameter(0)
  ROOT %d = f32[] dot(%x, %x), lhs_contracting_dims={0}, rhs_contracting_dims={0}
}

ENTRY %main (p: bf16[7,11]) -> f32[7,13] {
  %w = (s32[], f32[2,3,5]) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"19"}}
  %f = f32[7,13]{1,0} fusion(%p, %q), kind=kOutput, calls=%fused
}
"""  # noqa: E501


def test_products_count_by_their_shapes_and_by_what_runs_them():
    inside, outside = sorted(products(TEXT), key=lambda product: -product.runs)
    assert (inside.operands, inside.flops, inside.runs) == (("f32", "f32"), 2 * (2 * 3 * 5) * 17, 19)
    assert (outside.operands, outside.flops, outside.runs) == (("bf16", "bf16"), 2 * (7 * 13) * 11, 1)
    assert "nobody" not in runs(TEXT)


UNROLLED = """
%condition (state: (f32[7], u32[])) -> pred[] {
  %n = u32[]{:T(128)} constant(17)
  %i = u32[]{:T(128)} get-tuple-element(%state), index=1
  ROOT %less = pred[]{:T(512)} compare(%i, %n), direction=LT
}

%body (state: (f32[7], u32[])) -> (f32[7], u32[]) {
  %i = u32[]{:T(128)} get-tuple-element(%state), index=1
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%i, %two), metadata={op_name="add"}
  ROOT %t = (f32[7]{0}, u32[]{:T(128)}) tuple(%x, /*index=1*/%next)
}

ENTRY %main (p: f32[7]) -> f32[7] {
  %w = (f32[7]{0}, u32[]{:T(128)}) while(%init), condition=%condition, body=%body
}
"""


def test_a_loop_of_a_tpu_runs_until_its_counter_reaches_the_bound():
    assert runs(UNROLLED)["body"] == 9  # 0, 2, ..., 16
    assert runs(UNROLLED.replace("constant(2)", "constant(1)"))["body"] == 17
    assert runs(UNROLLED.replace(" add(", " subtract("))["body"] == 17  # its growth is not known: one by one


@pytest.mark.parametrize("length", [3, 7])
def test_a_compiled_loop_has_the_products_that_are_written(length):
    def loop(x, kernel):
        return jax.lax.scan(lambda state, _: (jnp.tanh(state @ kernel), None), x, None, length=length)[0]

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((5, 11), (11, 11))]
    compiled = jax.jit(loop).lower(*shapes).compile().as_text() or ""
    counted = sum(product.flops * product.runs for product in products(compiled))
    assert counted == count(loop, *shapes).products == length * 2 * 5 * 11 * 11
