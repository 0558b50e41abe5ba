"""Facts of compiled programs, on texts by hand."""

import pytest

from experiments.measure.program_facts import donated, exchanges, gathers_of_others, square_arrays, wide_products

TEXT = """HloModule jit_step, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias), {1}: (2, {}, may-alias) }, entry_computation_layout={(f32[7]{0})->f32[7]{0}}

%start_of_one (p: bf16[3,11]) -> bf16[48,11] {
  %p = bf16[3,11]{1,0} parameter(0)
  ROOT %g = bf16[48,11]{1,0} all-gather(%p), channel_id=3, replica_groups=[1,16]<=[16], dimensions={0}
}

%async_collective_fusion.5 (p: bf16[3,11], a: f32[13,17], b: bf16[17,19]) -> f32[13,19] {
  %p = bf16[3,11]{1,0} parameter(0)
  %a = f32[13,17]{1,0} parameter(1)
  %b = bf16[17,19]{1,0} parameter(2)
  %again = bf16[48,11]{1,0} all-gather(%p), channel_id=3, replica_groups=[1,16]<=[16], dimensions={0}
  ROOT %c = f32[13,19]{1,0} convolution(%a, %b), dim_labels=bf_io->bf
}

%inside (s: f32[5,23,23]) -> f32[5] {
  %s = f32[5,23,23]{2,1,0} parameter(0)
  ROOT %r = f32[5]{0} reduce(%s, %z), dimensions={1,2}
}

ENTRY %main (p: bf16[3,11]) -> f32[7] {
  %async-collective-start = (bf16[3,11]{1,0}, bf16[48,11]{1,0}) fusion(%p), kind=kCustom, calls=%start_of_one
  %fusion.5 = f32[13,19]{1,0} fusion(%p, %a, %b), kind=kOutput, calls=%async_collective_fusion.5
  %scores = f32[5,23,23]{2,1,0} fusion(%q, %k), kind=kOutput, calls=%nothing
  %sums = f32[5]{0} fusion(%scores), kind=kLoop, calls=%inside
  %t = bf16[2,29]{1,0} all-gather(%u), channel_id=4, replica_groups=[1,16]<=[16], dimensions={0}
  %collective-permute-start.1 = (bf16[31]{0}, bf16[31]{0}, u32[], u32[]) collective-permute-start(%v), channel_id=5, source_target_pairs={{0,1}}
  %w = f32[7]{0} fusion(%x), kind=kLoop, calls=%nothing
  %collective-permute-done.1 = bf16[31]{0} collective-permute-done(%collective-permute-start.1)
  %collective-permute-start.2 = (bf16[37]{0}, bf16[37]{0}, u32[], u32[]) collective-permute-start(%v), channel_id=6, source_target_pairs={{0,1}}
  %collective-permute-done.2 = bf16[37]{0} collective-permute-done(%collective-permute-start.2)
}
"""  # noqa: E501


def test_each_exchange_is_counted_once_and_says_whether_something_is_computed_meanwhile():
    facts = [(each.kind, each.arrays, each.bytes, each.overlapped) for each in exchanges(TEXT)]
    assert facts == [
        ("all-gather", [("bf16", (48, 11))], 48 * 11 * 2, True),
        ("all-gather", [("bf16", (2, 29))], 2 * 29 * 2, False),
        ("collective-permute", [("bf16", (31,))], 31 * 2, True),
        ("collective-permute", [("bf16", (37,))], 37 * 2, False),
    ]


def test_what_is_gathered_has_to_be_a_parameter():
    assert gathers_of_others(TEXT, [(11, 48), (2, 29)]) == []  # axes in any order
    (other,) = gathers_of_others(TEXT, [(48, 11)])
    assert other.arrays == [("bf16", (2, 29))]
    assert gathers_of_others(TEXT, [(48, 11)], smallest=117) == []  # it has 116 bytes


def test_what_is_given_away():
    assert donated(TEXT) == {0, 2}
    assert donated(TEXT.replace("input_output_alias", "nothing")) == set()


def test_products_of_float32_are_found():
    (product,) = wide_products(TEXT)
    assert product.flops == 2 * 13 * 19 * 17 and product.operands == ("f32", "bf16")
    assert wide_products(TEXT.replace("f32[13,17]", "bf16[13,17]")) == []


@pytest.mark.parametrize("length, arrays", [(23, ["f32[5,23,23]"]), (29, []), (5, [])])
def test_scores_that_are_kept_in_memory_are_found(length, arrays):
    assert square_arrays(TEXT, length, smallest=100) == arrays


def test_scores_inside_a_fusion_are_not_in_memory():
    fused = TEXT.replace("  %scores = f32[5,23,23]{2,1,0} fusion(%q, %k), kind=kOutput, calls=%nothing\n", "")
    assert square_arrays(fused, 23, smallest=100) == []
    assert square_arrays(TEXT, 23, smallest=1e6) == []  # too small to matter
