// The buckets of a histogram along the time. Grafana's heat map is part of the server.
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { Own, Words } from './parts.jsx';
import { noValue } from '../fields.js';

export function HeatMap({ panel, data, width, height, theme, range }) {
  const bound = (text) => (text === '+Inf' ? Infinity : Number(text));
  const buckets = data.filter((frame) => frame.fields.length > 1).map(({ fields: [time, count] }) => ({ le: bound(count.labels.le), counts: new Map([...time.values].map((at, index) => [at, count.values[index]])) }));
  buckets.sort((a, b) => a.le - b.le);
  if (!buckets.length) {
    return <Words height={height}>{noValue(panel)}</Words>;
  }
  const times = [...new Set(buckets.flatMap(({ counts }) => [...counts.keys()]))].sort((a, b) => a - b);
  const step = times[1] - times[0] || 15000;
  const tall = (height - 30) / buckets.length;
  const margin = 60;
  const x = (time) => margin + ((time - range[0]) / (range[1] - range[0])) * (width - margin - 6);
  // Prometheus' buckets hold those below them too.
  const cells = times.flatMap((time) => buckets.map(({ counts }, at) => ({ time, at, count: (counts.get(time) || 0) - (at ? buckets[at - 1].counts.get(time) || 0 : 0) })));
  const filled = cells.filter(({ count }) => count > 1e-9);
  const most = Math.max(...filled.map(({ count }) => count));
  const format = getValueFormat('s');
  return (
    <Own what="heat map" {...{ width, height, theme }}>
      {filled.map(({ time, at, count }) => {
        const share = Math.sqrt(count / most);
        return <rect key={`${time} ${at}`} x={x(time - step) + 0.5} y={height - 30 - (at + 1) * tall + 0.5} width={Math.max(1, x(time) - x(time - step) - 1)} height={tall - 1} fill={`rgb(255, ${Math.round(200 - 150 * share)}, ${Math.round(160 - 140 * share)})`} />;
      })}
      {buckets.map(({ le }, at) => (at % 2 ? null : <text key={at} x={margin - 6} y={height - 30 - (at + 1) * tall + 4} textAnchor="end">{le === Infinity ? '+Inf' : formattedValueToString(format(le))}</text>))}
    </Own>
  );
}
