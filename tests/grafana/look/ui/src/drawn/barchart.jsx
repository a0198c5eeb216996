// Horizontal and vertical bars, plain or stacked. Grafana's bar chart is part of the server, and on no registry.
import { FieldType, formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { Own, textWidth } from './parts.jsx';

// 1, 2, 2.5 or 5 times a power of ten, so that `count` of them reach `max`.
function step(max, count) {
  const raw = max / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
}

export function BarChart({ panel, data, width, height, theme }) {
  const [frame] = data;
  const {
    xField,
    stacking,
    barWidth = 0.97,
    groupWidth = 0.7,
    xTickLabelMaxLength,
    orientation,
    legend,
  } = panel.options;
  const x =
    frame.fields.find((field) => field.name === xField) ??
    frame.fields.find((field) => field.type !== FieldType.number);
  const bars = frame.fields.filter(
    (field) => field.type === FieldType.number && field !== x && !field.config.custom?.hideFrom?.viz,
  );
  const stacked = stacking === 'normal' || stacking === 'percent';
  const rows = [...x.values].map((_, row) => {
    const values = bars.map((bar) => bar.values[row] || 0);
    const sum = values.reduce((so_far, value) => so_far + value, 0) || 1;
    return stacking === 'percent' ? values.map((value) => value / sum) : values;
  });
  const show = (bar, value) =>
    stacking === 'percent' ? `${Math.round(value * 100)}%` : formattedValueToString(bar.display(value));
  const max = Math.max(
    ...rows.map((values) => (stacked ? values.reduce((so_far, value) => so_far + value, 0) : Math.max(...values))),
    stacking === 'percent' ? 0 : 1,
  );
  const names = [...x.values].map((value) => {
    const text = x.display ? formattedValueToString(x.display(value)) : String(value ?? '');
    return xTickLabelMaxLength && text.length > xTickLabelMaxLength ? `${text.slice(0, xTickLabelMaxLength)}…` : text;
  });
  const key = legend?.showLegend ? 24 : 0;
  const across = orientation === 'vertical';
  const margin = across ? 44 : Math.min(width * 0.6, Math.max(...names.map((name) => textWidth(name))) + 18);
  // Beside the longest bar stands its value, in letters of 14 pixels at most.
  const beside = stacked ? 40 : 12 + textWidth(show(bars[0], max), 14);
  const length = across ? height - key - 30 : width - margin - beside;
  const slot = (across ? width - margin - 8 : height - key - 28) / rows.length;
  const thick = (slot * (stacked ? barWidth : groupWidth)) / (stacked ? 1 : bars.length);
  const ticks = [];
  for (let tick = 0, by = step(max, Math.floor(length / 70)); tick <= max * 1.001; tick += by) {
    ticks.push(tick);
  }
  const along = (value) => (value / max) * length;
  const grid = theme.isDark ? 'rgba(240, 250, 255, .09)' : 'rgba(0, 10, 23, .09)';
  const size = Math.min(14, thick * 0.6);
  return (
    <Own what="bar chart" {...{ width, height, theme }}>
      {ticks.map((tick) =>
        across ? (
          <g key={tick}>
            <line x1={margin} x2={width} y1={length - along(tick)} y2={length - along(tick)} stroke={grid} />
            <text x={margin - 4} y={length - along(tick) + 10} textAnchor="end">
              {show(bars[0], tick)}
            </text>
          </g>
        ) : (
          <g key={tick}>
            <line x1={margin + along(tick)} x2={margin + along(tick)} y1={0} y2={slot * rows.length} stroke={grid} />
            <text x={margin + along(tick)} y={slot * rows.length + 18} textAnchor="middle">
              {show(bars[0], tick)}
            </text>
          </g>
        ),
      )}
      {rows.map((values, row) => {
        let from = 0;
        return (
          <g key={row}>
            {across ? (
              <text x={margin + (row + 0.5) * slot} y={length + 16} textAnchor="middle">
                {names[row]}
              </text>
            ) : (
              <text x={margin - 8} y={(row + 0.5) * slot + 4} textAnchor="end">
                {names[row]}
              </text>
            )}
            {values.map((value, at) => {
              const begin = stacked ? from : 0;
              from += value;
              const side = row * slot + (slot - thick * (stacked ? 1 : bars.length)) / 2 + (stacked ? 0 : at * thick);
              const text = show(bars[at], value);
              const fits = size >= 8 && value > 0 && (!stacked || along(value) > textWidth(text, size) + 6);
              const box = across
                ? { x: margin + side, y: length - along(begin + value), width: thick, height: along(value) }
                : { x: margin + along(begin), y: side, width: along(value), height: thick };
              return (
                <g key={at}>
                  <rect
                    {...box}
                    fill={bars[at].display(bars[at].values[row]).color}
                    opacity={(panel.fieldConfig.defaults.custom?.fillOpacity ?? 80) / 100}
                  />
                  {fits && !across && panel.options.showValue !== 'never' && (
                    <text
                      x={margin + along(begin + value) + (stacked ? -along(value) / 2 : 4)}
                      y={side + thick / 2 + size * 0.35}
                      textAnchor={stacked ? 'middle' : 'start'}
                      style={{ fontSize: size }}
                    >
                      {text}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
      {key > 0 &&
        bars.reduce(
          ({ at, drawn }, bar) => {
            const name = getFieldDisplayName(bar, frame);
            drawn.push(
              <g key={name}>
                <rect x={at} y={height - 14} width={14} height={4} fill={bar.display(bar.values[0]).color} />
                <text x={at + 20} y={height - 8}>
                  {name}
                </text>
              </g>,
            );
            return { at: at + 40 + textWidth(name), drawn };
          },
          { at: 8, drawn: [] },
        ).drawn}
    </Own>
  );
}
