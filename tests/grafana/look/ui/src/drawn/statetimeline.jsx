// States along the time. Grafana's state timeline is part of the server.
import { FieldType, getFieldDisplayName } from '@grafana/data';
import { Own, textWidth } from './parts.jsx';

export function StateTimeline({ data, width, height, theme, range }) {
  const rows = data.flatMap((frame) => frame.fields.filter((field) => field.type !== FieldType.time).map((field) => ({ field, name: getFieldDisplayName(field, frame, data), time: frame.fields.find((one) => one.type === FieldType.time).values })));
  const margin = Math.max(...rows.map(({ name }) => textWidth(name))) + 14;
  const thick = (height - 26) / rows.length;
  const x = (time) => margin + ((time - range[0]) / (range[1] - range[0])) * (width - margin - 6);
  return (
    <Own what="state timeline" {...{ width, height, theme }}>
      {rows.map(({ field, name, time }, row) => {
        const gap = time.length > 1 ? (time[1] - time[0]) * 4 : 60000;
        const spans = [];
        time.forEach((at, index) => {
          const { text, color } = field.display(field.values[index]);
          const last = spans.at(-1);
          if (last && last.text === text && at - last.end < gap) {
            last.end = at;
          } else {
            spans.push({ text, color, start: at, end: at });
          }
        });
        return (
          <g key={row}>
            <text x={margin - 8} y={(row + 0.5) * thick + 4} textAnchor="end">{name}</text>
            {spans.map(({ text, color, start, end }) => (
              <g key={start}>
                <rect x={x(start)} y={row * thick + thick * 0.05} width={Math.max(1, x(end) - x(start))} height={thick * 0.9} fill={color} opacity={0.7} />
                {x(end) - x(start) > textWidth(text) + 8 && <text x={x(start) + 4} y={(row + 0.5) * thick + 4}>{text}</text>}
              </g>
            ))}
          </g>
        );
      })}
    </Own>
  );
}
