"""What devices exchange, read from HLO: sizes of shapes, groups of devices, and loops."""

from typing import Any

import pytest

from experiments.measure.collectives import collectives, has_loops

TEXT = """HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%body (state: (s32[], f32[7,11])) -> (s32[], f32[7,11]) {
  %g = f32[7,11]{1,0:T(8,128)(2,1)} all-reduce(%x), channel_id=1, replica_groups=[3,5]<=[15], to_apply=%add
  ROOT %t = (s32[], f32[7,11]) tuple(%i, %g)
}

%condition (state: (s32[], f32[7,11])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p: f32[7,11]) -> f32[7,11] {
  %w = (s32[], f32[7,11]) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"13"}}
  %both = (f32[3]{0}, bf16[2,5]{1,0}) all-reduce(%a, %b), replica_groups={{0,1},{2,3}}, to_apply=%add
  %s = (bf16[17]{0}, bf16[68]{0}) all-gather-start(%c), replica_groups=mesh['data'=2,'fsdp'=4] {'fsdp'}, dimensions={0}
  %d = bf16[68]{0} all-gather-done(%s)
  %r = f32[19]{0} reduce-scatter(%e), replica_groups={{0,1,2,3,4}}, to_apply=%add
  %o = f32[23]{0} collective-permute(%f), source_target_pairs={{0,1},{1,0}}
  %n = f32[29]{0} all-reduce(%f), replica_groups={{0},{1}}, to_apply=%add
}
"""


def test_each_kind_counts_what_a_ring_sends():
    kinds: dict[str, tuple[float, Any]] = {each.kind: (each.count, each.sent) for each in collectives(TEXT)}
    # Twice (n - 1) / n of an array: in the loop of 13 rounds, at the end, and among devices that are alone, which is 0.
    inside, outside = 13 * 2 * 4 / 5 * (7 * 11 * 4), 2 * 1 / 2 * (3 * 4 + 2 * 5 * 2)
    assert kinds["all-reduce"] == (15, pytest.approx(inside + outside))
    assert kinds["all-gather"] == (1, pytest.approx(3 / 4 * (17 + 68) * 4 / 5 * 2))
    assert kinds["reduce-scatter"] == (1, pytest.approx(4 * 19 * 4))
    assert kinds["collective-permute"] == (1, 23 * 4)
    assert has_loops(TEXT)


def test_a_program_of_one_device_sends_nothing():
    assert collectives("ENTRY %main (p: f32[7]) -> f32[7] {\n  ROOT %p = f32[7] negate(%q)\n}\n") == []
    assert not has_loops(TEXT.replace('"n":"13"', '"n":"1"'))


def test_where_the_compiler_does_not_say_it_the_condition_of_a_loop_does():
    constant = "  %n = s32[]{:T(128)} constant(13)\n  ROOT %less"
    text = TEXT.replace(', backend_config={"known_trip_count":{"n":"13"}}', "").replace("  ROOT %less", constant)
    assert "known_trip_count" not in text and has_loops(text)
    assert collectives(text) == collectives(TEXT)
