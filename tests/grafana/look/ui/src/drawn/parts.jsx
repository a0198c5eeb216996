// What the own drawings share.
const canvas = document.createElement('canvas').getContext('2d');

export function textWidth(text, size = 12) {
  canvas.font = `${size}px Inter`;
  return canvas.measureText(text).width;
}

export function Words({ height, color, children }) {
  return <div style={{ alignItems: 'center', color, display: 'flex', fontSize: 16, height, justifyContent: 'center', opacity: 0.8, overflow: 'hidden', padding: 8, textAlign: 'center' }}>{children}</div>;
}

// A drawing, and in its corner that it is not Grafana's.
export function Own({ what, width, height, theme, background, children }) {
  return (
    <div style={{ height, position: 'relative' }}>
      <svg width={width} height={height} style={{ background, fill: theme.colors.text.primary, font: '12px Inter' }}>{children}</svg>
      <div style={{ bottom: 0, fontSize: 9, opacity: 0.5, position: 'absolute', right: 4 }}>own drawing: {what}</div>
    </div>
  );
}
