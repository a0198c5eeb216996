// The points of a map, to scale, without the map beneath: Grafana's is part of the server.
import { formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { Own } from './parts.jsx';

export function GeoMap({ panel, data, width, height, theme }) {
  const frame = data[0];
  const { style, showLegend } = panel.options.layers[0].config;
  const field = (name) => frame.fields.find((one) => one.name === name);
  const lat = field('latitude').values;
  const lon = field('longitude').values;
  const size = field(style.size?.field);
  const color = field(style.color?.field);
  const bounds = [Math.min(...lon), Math.max(...lon), Math.min(...lat), Math.max(...lat)];
  const squeeze = Math.cos((lat[0] * Math.PI) / 180);
  const scale = Math.min((width - 40) / ((bounds[1] - bounds[0]) * squeeze || 1e-3), (height - 40) / (bounds[3] - bounds[2] || 1e-3));
  const most = size ? Math.max(...size.values) : 1;
  const least = size ? Math.min(...size.values) : 0;
  const radius = (row) => (size ? style.size.min + ((size.values[row] - least) / (most - least || 1)) * (style.size.max - style.size.min) : style.size?.fixed ?? 5);
  const paint = (row) => color?.display(color.values[row]).color ?? theme.visualization.getColorByName(style.color?.fixed ?? 'dark-green');
  const rows = [...lat].map((_, row) => row).reverse();
  const [low, high] = color ? [Math.min(...color.values), Math.max(...color.values)] : [0, 0];
  return (
    <Own what="map, without its base" background={theme.isDark ? '#202733' : '#dde5ea'} {...{ width, height, theme }}>
      {rows.map((row) => (
        <circle key={row} cx={width / 2 + (lon[row] - (bounds[0] + bounds[1]) / 2) * squeeze * scale} cy={height / 2 - (lat[row] - (bounds[2] + bounds[3]) / 2) * scale} r={radius(row)} fill={paint(row)}
          opacity={style.opacity ?? 0.4} stroke={paint(row)} />
      ))}
      {showLegend && color && color.type === 'number' && (
        <g>
          <text x={12} y={height - 34}>{getFieldDisplayName(color, frame)}</text>
          {[0, 0.25, 0.5, 0.75, 1].map((share, at) => <rect key={at} x={12 + at * 40} y={height - 28} width={40} height={8} fill={color.display(low + share * (high - low)).color} />)}
          <text x={12} y={height - 6}>{formattedValueToString(color.display(low))}</text>
          <text x={190} y={height - 6}>{formattedValueToString(color.display(high))}</text>
        </g>
      )}
    </Own>
  );
}
