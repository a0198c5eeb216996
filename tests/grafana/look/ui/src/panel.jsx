// One panel: what its type is drawn with, and what is said where nothing can be.
import { Component, useEffect, useState } from 'react';
import { dateTime, transformDataFrame } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { configured, fieldConfig, noValue, TIME_ZONE } from './fields.js';
import { frames } from './frames.js';
import { BarChart } from './drawn/barchart.jsx';
import { GeoMap } from './drawn/geomap.jsx';
import { HeatMap } from './drawn/heatmap.jsx';
import { Words } from './drawn/parts.jsx';
import { StateTimeline } from './drawn/statetimeline.jsx';
import { BarGauges, Stat } from './stat.jsx';
import { Text } from './text.jsx';

const VIEWS = {
  stat: Stat,
  bargauge: BarGauges,
  text: Text,
  barchart: BarChart,
  geomap: GeoMap,
  heatmap: HeatMap,
  'state-timeline': StateTimeline,
  table: ({ panel, data, width, height, timeRange }) => (
    <TableNG data={data[0]} width={width} height={height} noHeader={panel.options.showHeader === false} showTypeIcons={false} resizable sortBy={panel.options.sortBy}
      cellHeight={panel.options.cellHeight} enableVirtualization fieldConfig={fieldConfig(panel)} noValue={noValue(panel)} timeRange={timeRange} structureRev={1}
      transparent={false} getActions={() => []} />
  ),
  timeseries: ({ panel, data, width, height, timeRange }) => (
    <TimeSeries frames={data} width={width} height={height} timeRange={timeRange} timeZone={TIME_ZONE} legend={panel.options.legend} structureRev={1} options={{}} />
  ),
};

// Whether Grafana's own panel would say "No data".
function empty(type, data) {
  if (type === 'text') {
    return false;
  }
  if (type === 'table') {
    return !data[0]?.fields.length;
  }
  return type === 'stat' || type === 'bargauge' ? !data.length : !data.some((frame) => frame.length);
}

function Drawn({ panel, page, theme, width, height }) {
  const [series, setSeries] = useState(null);
  const results = page.results[panel.id];
  const replace = (text) => page.texts.reduce((so_far, [name, value]) => so_far.replaceAll(`\${${name}}`, value).replaceAll(`\${${name}:text}`, value).replaceAll(`$${name}`, value), String(text));
  useEffect(() => {
    const raw = frames(results);
    if (panel.transformations?.length) {
      const done = transformDataFrame(panel.transformations, raw, { interpolate: replace }).subscribe(setSeries);
      return () => done.unsubscribe();
    }
    setSeries(raw);
  }, []);
  const failed = results?.find((result) => result.error);
  if (failed) {
    return <Words height={height} color={theme.colors.error.text}>{`query failed: ${failed.error}`}</Words>;
  }
  if (!series) {
    return null;
  }
  const View = VIEWS[panel.type];
  if (!View) {
    return <Words height={height}>{`(${panel.type} is not drawn here)`}</Words>;
  }
  const data = configured(panel, series, theme, replace);
  if (empty(panel.type, data)) {
    return <Words height={height}>{noValue(panel)}</Words>;
  }
  const timeRange = { from: dateTime(page.from), to: dateTime(page.to), raw: { from: dateTime(page.from), to: dateTime(page.to) } };
  return <View {...{ panel, data, width, height, theme, timeRange, replace, range: [page.from, page.to] }} />;
}

// A panel that can't be drawn says why, and leaves the others alone.
export class Panel extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    const { error } = this.state;
    return error ? <pre style={{ color: 'red', fontSize: 10 }}>{String(error.stack).slice(0, 800)}</pre> : <Drawn {...this.props} />;
  }
}
