"""The style sheet of reports: light or dark as the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #626b77; --rule: #e3e6ea;
  --page: #ffffff; --card: #f6f7f9; --c0: #2463c5; --c1: #c8590a; --c2: #15803d;
  --c3: #8b3fc0; --c4: #b4235f; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa3af;
  --rule: #343a42; --page: #16191d; --card: #1f2429; --c0: #7aa7f5; --c1: #f0a060;
  --c2: #6fce8f; --c3: #c79bf0; --c4: #f08db4; --c5: #63c5da; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.5rem 4rem;
  background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 .7rem; }
h3 { font-size: .95rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p, .soft { color: var(--soft); margin: 0; }
.tiles { display: grid; gap: .75rem; margin-top: 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tile { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.45rem; font-weight: 650; line-height: 1.25; }
.tile span { color: var(--soft); font-size: .85rem; }
.pair { display: grid; gap: 1.6rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; font-size: .9rem;
  margin-bottom: .4rem; }
.legend i { display: inline-block; width: 1.2rem; height: 3px; border-radius: 2px;
  margin-right: .45rem; vertical-align: middle; background: currentColor; }
.legend em { font-style: normal; color: var(--soft); }
svg { display: block; }
.chart { width: 100%; height: auto; }
.bar { width: 100%; height: .55rem; min-width: 6rem; }
.room { fill: var(--rule); } .filled { fill: var(--c0); }
.grid { stroke: var(--rule); } .mark { stroke: var(--soft); stroke-dasharray: 4 4; }
.axis { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart path { fill: none; stroke: currentColor; stroke-width: 2;
  stroke-linejoin: round; }
.chart circle { fill: currentColor; }
.line-0 { color: var(--c0); } .line-1 { color: var(--c1); }
.line-2 { color: var(--c2); } .line-3 { color: var(--c3); }
.line-4 { color: var(--c4); } .line-5 { color: var(--c5); }
thead th { overflow-wrap: normal; }
.wide { overflow-x: auto; }
.wide .chart { min-width: 34rem; }
.graph { overflow-x: auto; background: var(--card); border-radius: .6rem;
  padding: 1rem; }
.graph svg { margin: 0 auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { color: var(--soft); font-weight: 500; text-align: left; }
td, th { padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: baseline; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody th { width: 11rem; }
details { margin-top: 2.6rem; }
summary { cursor: pointer; font-weight: 650; font-size: 1.1rem; margin-bottom: .6rem; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""
